"""Retort against its own conformance suite, strict, over HTTP and gRPC, with every extension that it lists."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conformance.command import app
from tests.support.certificates import make_pair
from tests.support.process import ServerProcess
from tests.unit.serving import models, recurrent

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"
SUITE = "from conformance.command import app; app()"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `digits`, the stateful `sums`, and `half`, whose tensors have no JSON form."""
    folder = tmp_path_factory.mktemp("everything")
    for name, onnx, config in (
        ("sums", recurrent.sums(), {"sequences": recurrent.SUMS}),
        ("half", models.copies("FP16"), {}),
    ):
        version = folder / "repository" / name / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(onnx)
        (version.parent / "model.yaml").write_text(json.dumps(config))
    arguments = ["--repository", str(REPOSITORY), "--repository", str(folder / "repository"), "--shared-memory"]
    with ServerProcess(arguments, folder) as running:
        yield running


def test_a_server_with_a_certificate_is_asked_over_tls(tmp_path: Path) -> None:
    pair = make_pair(tmp_path)
    with ServerProcess(["--repository", str(REPOSITORY), *pair.options], tmp_path) as server:
        command = [sys.executable, "-c", SUITE, "--url", server.url, "--model", "digits"]
        distrusts = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
        assert distrusts.returncode == 1
        assert "is not trusted: name its authority with --ca." in distrusts.stderr
        command += ["--grpc-url", server.grpc, "--ca", str(pair.chain)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "https://" in done.stdout


def test_authorities_that_are_none_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    done = CliRunner().invoke(app, ["--url", "https://127.0.0.1:1", "--ca", str(tmp_path / "ca.crt")])
    assert (done.exit_code, done.stderr) == (1, f"retort: {tmp_path}/ca.crt holds no certificates in PEM form.\n")


@pytest.mark.parametrize("profile", ["strict", "relaxed"])
def test_retort_conforms(everything: ServerProcess, tmp_path: Path, profile: str) -> None:
    report = tmp_path / "report.json"
    arguments = ["--url", everything.url, "--grpc-url", everything.grpc, "--profile", profile, "--report", str(report)]
    command = [sys.executable, "-c", SUITE, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(report.read_text())["results"]
    assert [result for result in results if result["status"] == "failed"] == []
    passed = {(result["model"], result["id"]) for result in results if result["status"] == "passed"}
    assert passed >= {
        ("digits", "grpc.infer"),
        ("digits", "grpc.stream"),
        ("digits", "binary.raw"),
        ("digits", "extension.classification"),
        ("sums", "extension.sequence"),
        ("", "extension.shared-memory"),
    }
