"""A server that answers from a table over a real socket, and `retort` run in this process."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service.cli import main


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedServer:
    """`answers` maps "METHOD path" to status, body and headers; `requests` is what came."""

    url: str = ""
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, route: str, answer: object, status: int = 200, **headers: str) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.answers[route] = (status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Retort = Callable[..., Outcome]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.requests.append(Request(self.command, self.path, dict(self.headers), body))
            status, answer, headers = script.answers.get(
                f"{self.command} {self.path}", (404, b'{"error": "there is no such path"}', {})
            )
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        script.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield script
        http.shutdown()
        thread.join()


@pytest.fixture
def retort(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Retort:
    """Runs `retort WORDS...` as its entry point does, without the variables of whoever runs the tests."""
    for name in list(os.environ):
        if name.upper().startswith("RETORT_"):
            monkeypatch.delenv(name)

    def run(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["retort", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int) or code is None
        captured = capsys.readouterr()
        return Outcome(code or 0, captured.out, captured.err)

    return run
