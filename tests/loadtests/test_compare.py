"""`retort compare` as a process of its own against a real server: what it writes, its exit codes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from models.data.digits import part
from tests.support.process import ServerProcess
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
MAIN = "import sys\nfrom loadtests.commands.compare import app\napp(sys.argv[1:], prog_name='retort')"
# Two cores that other work may hold just now: a run here may be invalid, which takes nothing from what is tested.
MAY_BE_INVALID = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    repository = ["--repository", str(ROOT / "models" / "repository")]
    with ServerProcess(repository, tmp_path_factory.mktemp("compare"), core=0) as running:
        yield running


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RETORT_", "COVERAGE_"))}
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def compare(*arguments: str) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Short blocks of the first rows of the test set."""
    folder = tmp_path_factory.mktemp("quick")
    test = part("test")
    np.savez(folder / "rows.npz", labels=test.labels[:64], **{name: rows[:64] for name, rows in test.inputs.items()})
    (folder / "quick.yaml").write_text("summary: Short blocks.\nblock_s: 0.25\n")
    return ["--data", str(folder / "rows.npz"), "--scenario", str(folder / "quick.yaml")]


def short(server: ServerProcess, *more: str) -> tuple[int, str, str]:
    return compare("digits", "--url", server.url, "--rate", "60", "--duration", "2", *more)


@pytest.fixture(scope="module")
def compared(
    server: ServerProcess, quick: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, str, Path]:
    folder = tmp_path_factory.mktemp("report")
    required = ["--require", "agreement >= 0.9", "--require", "errors <= 0.1%"]
    code, out, err = short(server, "--versions", "1,1-int8", "--out", str(folder), "--seed", "7", *required, *quick)
    assert code in (0, MAY_BE_INVALID), err
    return code, out, folder


def test_the_report_is_written_and_says_what_was_done(compared: tuple[int, str, Path]) -> None:
    code, out, folder = compared
    report = json.loads((folder / "report.json").read_text())
    assert [one["label"] for one in report["versions"]] == ["1", "1-int8"]
    assert report["valid"] is (code == 0)
    assert report["traffic"]["seed"] == 7 and report["traffic"]["source"] == "rows.npz"
    assert all(one["met"] for one in report["requirements"]) and len(report["requirements"]) == 2
    assert report["versus"][0]["agreement"]["value"] >= 0.98
    assert report["versus"][0]["agreement_rows"] == 64
    assert "<html" in (folder / "report.html").read_text()[:2000]
    assert "ship it" in out
    assert ("prove nothing" in out) == (code != 0)


def test_every_answer_under_load_was_right(compared: tuple[int, str, Path]) -> None:
    report = json.loads((compared[2] / "report.json").read_text())
    for one in report["versions"]:
        assert one["summary"]["errors"] == {} and one["summary"]["requests"] > 60
        assert one["summary"]["effective_accuracy"]["value"] > 0.95


def test_a_requirement_that_is_not_met_ends_with_5(server: ServerProcess, quick: list[str]) -> None:
    code, out, _ = short(server, "--versions", "1", "--require", "p99 <= 0.001ms", *quick)
    assert code in (5, MAY_BE_INVALID) and "p99 <= 0.001ms" in out


@pytest.mark.slow  # the search goes down to one request a second
def test_an_objective_that_no_rate_meets_is_invalid(server: ServerProcess, quick: list[str], tmp_path: Path) -> None:
    code, out, err = compare(
        "digits", "--url", server.url, "--versions", "1", "--slo-p99-ms", "0.001", "--out", str(tmp_path), *quick
    )
    assert code == 4, err
    assert "No rate meets p99 <= 0.001 ms for 1" in out
    assert json.loads((tmp_path / "report.json").read_text())["valid"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "--rate", "5"], "404"),
        (["digits", "--rate", "5", "--versions", "9"], "404"),
        (["digits", "--rate", "5", "--data", "no-such.npz"], "no-such.npz"),
        (["digits", "--rate", "5", "--arrivals", "trace", "--trace", "no-such.txt"], "no-such.txt"),
    ],
)
def test_what_cannot_be_done_ends_with_1_and_a_sentence(server: ServerProcess, arguments: list[str], said: str) -> None:
    code, _, err = compare(*arguments, "--url", server.url)
    assert code == 1 and said in err and "Traceback" not in err


def test_no_server_ends_with_1() -> None:
    code, _, err = compare("digits", "--rate", "5", "--url", "http://127.0.0.1:9")
    assert code == 1 and "does not answer" in err and "Traceback" not in err


def _wait_for(process: subprocess.Popen[str], said: str) -> None:
    assert process.stderr is not None
    end = time.monotonic() + 60
    while said not in process.stderr.readline():
        assert time.monotonic() < end and process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_reports_what_was_measured_and_leaves_no_process(
    server: ServerProcess, quick: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    process = start(
        *("digits", "--url", server.url, "--versions", "1,1-int8", "--rate", "40", "--duration", "60"),
        *("--out", str(tmp_path), *quick),
    )
    _wait_for(process, "comparing at")
    before = _answered(server)
    until(lambda: _answered(server) >= before + 64, "no blocks are sent")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children  # the generator
    os.killpg(process.pid, number)  # as a terminal does, or a supervisor
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "interrupted" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["interrupted"] is True
    assert 0 < len(report["blocks"]) < 300
    _, alive = psutil.wait_procs(children, 20)
    assert not alive


def _answered(server: ServerProcess) -> int:
    """Inferences of all versions; a block sends some sixteen."""
    lines = server.http.get("/metrics").text.splitlines()
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith("nv_inference_request_success{"))


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGKILL,)], ids=["Ctrl-C twice", "kill -9"]
)
def test_an_end_in_a_hurry_leaves_no_process(
    server: ServerProcess, tmp_path: Path, signals: tuple[signal.Signals, ...]
) -> None:
    (tmp_path / "long.yaml").write_text("summary: One long block.\nblock_s: 600\n")
    process = start(
        *("digits", "--url", server.url, "--versions", "1", "--rate", "5", "--scenario"), str(tmp_path / "long.yaml")
    )
    _wait_for(process, "comparing at")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children  # the generator, which would send for ten minutes more
    for one in signals:
        os.killpg(process.pid, one)
        time.sleep(0.05)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not psutil.wait_procs(children, 20)[1]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_compare_starts_a_server_of_its_own_and_ends_it(tmp_path: Path) -> None:
    for name in ("Makefile", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = Path(sys.executable).parents[1]
    installed = [part for stamp in (".service", ".dev", ".project") for part in ("-o", f"{environment}/{stamp}")]
    done = subprocess.run(
        ["make", *installed, "compare", f"VENV={environment}", "ARGS=--versions 1,1-int8 --rate 60 --duration 2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "1-int8" in done.stdout, done.stderr
    assert done.returncode == 0 or f"Error {MAY_BE_INVALID}" in done.stderr
    assert json.loads((tmp_path / ".compare" / "report" / "report.json").read_text())["traffic"]["rate"] == 60
    address = (tmp_path / ".compare" / "address").read_text().split()[2]
    with pytest.raises(httpx.TransportError):
        httpx.get(address)


@pytest.mark.slow  # blocks of five seconds
def test_versions_are_swapped_under_load_without_a_failed_or_mixed_answer(
    server: ServerProcess, quick: list[str], tmp_path: Path
) -> None:
    before = server.http.get("/v2/models/digits/versions").json()
    code, out, err = short(server, "--scenario", "swap", "--out", str(tmp_path), *quick[:2])
    assert code in (0, MAY_BE_INVALID), err
    assert ": 0 failed, 0 were answered wrongly" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["marks"]) >= 5
    assert server.http.get("/v2/models/digits/versions").json() == before  # the active version is as it was
