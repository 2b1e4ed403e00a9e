"""`retort conformance` as a command: reports written, exit codes, one sentence where no server answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from conformance.command import app
from tests.unit.conformance.reference import ReferenceServer


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(30)

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:  # wsgiref's input has no end of its own
            size = int(self.headers.get("Content-Length", 0))
            self.rfile = BytesIO(self.rfile.read(size))  # type: ignore[assignment]
        return parsed


@pytest.fixture(params=["", "id not echoed"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    with make_server("127.0.0.1", 0, ReferenceServer(request.param), handler_class=Quiet) as http:  # type: ignore[arg-type]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield request.param, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_a_run_is_judged_and_written(served: tuple[str, str], tmp_path: Path) -> None:
    defect, url = served
    report, junit = tmp_path / "r.json", tmp_path / "r.xml"
    done = CliRunner().invoke(app, ["--url", url, "--report", str(report), "--junit", str(junit)])
    assert done.exit_code == (6 if defect else 0), done.output
    found = json.loads(report.read_text())
    assert found["schema"] == "retort-conformance/1"
    assert found["conforms"] is not bool(defect)
    assert found["counts"]["MUST"]["failed"] == (1 if defect else 0)
    failures = ElementTree.fromstring(junit.read_text()).findall("testcase/failure")
    assert len(failures) == (1 if defect else 0)
    assert ("infer.id-echoed" in done.output) is bool(defect)
    for kind in (".html", ".md"):
        assert CliRunner().invoke(app, ["--url", url, "--report", str(tmp_path / f"r{kind}")]).exit_code in (0, 6)
        assert "infer.id-echoed" in (tmp_path / f"r{kind}").read_text()


def test_no_server_and_mistyped_options() -> None:
    assert CliRunner().invoke(app, ["--url", "http://127.0.0.1:1"]).exit_code == 1
    assert CliRunner().invoke(app, ["--url", "ftp://x"]).exit_code == 2
    assert CliRunner().invoke(app, ["--report", "r.pdf"]).exit_code == 2
    for address in ("http://127.0.0.1:8001", "127.0.0.1"):
        done = CliRunner().invoke(app, ["--grpc-url", address])
        assert done.exit_code == 2 and "is no HOST:PORT" in done.output
