"""Promise D1: the server serves, swaps and ends well as an unprivileged user who may write nowhere but its state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ServerProcess
from tests.wire.digits import INFER, ROWS, is_answer_of, tensor

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("contained.sh")
USER = 10001  # the Dockerfile's
NEEDED = ("unshare", "setpriv", "findmnt", "mount")


def contained(folder: Path) -> list[str]:
    return ["unshare", "--mount", "sh", str(SCRIPT), str(folder), sys.base_prefix]


def why_not() -> str:
    if os.geteuid() != 0:
        return "only root can put a process into a container's place"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"util-linux is not whole here: no {', '.join(missing)}"
    allowed = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    return "" if allowed.returncode == 0 else "this machine allows no mount namespace"


pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "state").mkdir()
        yield path


def test_the_place_is_what_it_is_said_to_be(folder: Path) -> None:
    """The negative control: there, this user writes to its state and to nothing else."""
    barred = (f"{folder}/x", f"{ROOT}/x", "/x", f"{folder}-x")
    tries = " && ".join((f"touch {folder}/state/x", *(f"! touch {name}" for name in barred)))
    done = subprocess.run([*contained(folder), "sh", "-c", tries], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Read-only file system") == 4


def test_the_server_needs_no_privilege_and_no_other_file_system(folder: Path) -> None:
    arguments = ["--repository", str(ROOT / "models" / "repository")]
    home = {"HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    with ServerProcess(arguments, folder, env=home, within=contained(folder)) as server:
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        )
        assert status["Uid"].split() == [str(USER)] * 4
        assert {int(status[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
        assert status["NoNewPrivs"] == "1"

        def version() -> str:
            answer = server.http.post(INFER, json={"inputs": [tensor(ROWS[:2])]}).json()
            named = str(answer["model_version"])
            assert is_answer_of(named, answer["outputs"][0]["data"], 2)
            return named

        assert version() == "1"
        swapped = server.http.post("/v2/repository/models/digits/swap", json={"version": "1-int8"})
        assert swapped.status_code == 200, swapped.text
        assert version() == "1-int8"
        assert server.terminate() == 0
        assert "not kept" not in server.log()
        assert "Read-only file system" not in server.log()
