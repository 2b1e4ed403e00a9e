"""The locustfile, headless and in a process of its own, against a real server and against one whose answers lie."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.support.process import ServerProcess

# Not importorskip: importing Locust would patch the sockets and threads of this very process.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("locust") is None, reason="locust, of the extra loadtest, is not installed"
)
ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "models" / "repository"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(["--repository", str(REPOSITORY)], tmp_path_factory.mktemp("locust"), core=0) as running:
        yield running


def locust(folder: Path, host: str, *arguments: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Runs it for 2 s with two users; (exit code, name -> its line of the CSV, what it printed)."""
    command = ["-m", "locust", "-f", "loadtests/locustfile.py", "--host", host, "--headless", "-u", "2", "-r", "10"]
    more = ["-t", "2s", "--csv", str(folder / "out"), "--only-summary", *arguments]
    done = subprocess.run(
        [sys.executable, *command, *more], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    table = folder / "out_stats.csv"
    lines = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    return done.returncode, {line["Name"]: line for line in lines}, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["json", "binary", "grpc"])
def test_every_answer_of_a_real_server_is_right(server: ServerProcess, tmp_path: Path, kind: str) -> None:
    user = {"json": "JsonUser", "binary": "BinaryUser", "grpc": "GrpcUser"}[kind]
    code, lines, printed = locust(
        tmp_path, server.url, "--grpc-host", server.grpc, "--model-version", "1-int8", "--rate-per-user", "50", user
    )
    assert code == 0, printed
    line = lines[f"{kind} digits/1-int8"]
    assert int(line["Request Count"]) > 3
    assert int(line["Failure Count"]) == 0
    assert lines.keys() == {f"{kind} digits/1-int8", "Aggregated"}


def test_tags_choose_the_users_and_an_unnamed_version_may_answer(server: ServerProcess, tmp_path: Path) -> None:
    code, lines, printed = locust(tmp_path, server.url, "--grpc-host", server.grpc, "--tags", "grpc", "binary")
    assert code == 0, printed
    assert lines.keys() == {"grpc digits/active", "binary digits/active", "Aggregated"}
    assert all(int(line["Failure Count"]) == 0 for line in lines.values())


@pytest.mark.parametrize("kind", ["json", "binary", "grpc"])
def test_answers_that_are_not_the_golden_ones_all_fail(server: ServerProcess, tmp_path: Path, kind: str) -> None:
    """The full version asked, and held against the golden answers of the other."""
    golden = REPOSITORY / "digits" / "1-int8" / "golden.npz"
    user = {"json": "JsonUser", "binary": "BinaryUser", "grpc": "GrpcUser"}[kind]
    code, lines, printed = locust(
        tmp_path, server.url, "--grpc-host", server.grpc, "--model-version", "1", "--data", str(golden), user
    )
    assert code == 1
    line = lines[f"{kind} digits/1"]
    assert int(line["Request Count"]) > 3
    assert line["Failure Count"] == line["Request Count"]
    assert "wrong answer of 1" in printed


@pytest.fixture
def lying(server: ServerProcess) -> Iterator[str]:
    """Passes everything on, and adds one to the first number of every answer."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._give(httpx.get(server.url + self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept = {
                k: v
                for k, v in self.headers.items()
                if k.lower() in ("content-type", "inference-header-content-length")
            }
            self._give(httpx.post(server.url + self.path, content=body, headers=kept), alter=True)

        def _give(self, answer: httpx.Response, *, alter: bool = False) -> None:
            content = answer.content
            if alter:
                document = json.loads(content)
                document["outputs"][0]["data"][0] += 1
                content = json.dumps(document).encode()
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{proxy.server_port}"
    proxy.shutdown()
    proxy.server_close()
    thread.join()


def test_a_proxy_that_alters_the_answers_is_all_failures(lying: str, tmp_path: Path) -> None:
    golden = REPOSITORY / "digits" / "1" / "golden.npz"
    code, lines, printed = locust(tmp_path, lying, "--model-version", "1", "--data", str(golden), "JsonUser")
    assert code == 1
    assert int(lines["json digits/1"]["Request Count"]) > 3
    assert lines["json digits/1"]["Failure Count"] == lines["json digits/1"]["Request Count"]
    assert "wrong answer of 1" in printed


def test_a_server_that_is_not_there_ends_it_with_a_sentence(tmp_path: Path) -> None:
    code, _, printed = locust(tmp_path, "http://127.0.0.1:9", "-t", "40s", "JsonUser")
    assert code == 1
    assert "the load test cannot begin: http://127.0.0.1:9 does not answer" in printed
    assert "Traceback" not in printed
