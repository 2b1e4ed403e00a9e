"""The Python that `make` takes, of interpreters that are scripts and say how long the work took them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "choose-python.sh"
FAILS = "exit 1"  # too old, too new, or without venv


def chosen(path: list[str]) -> str:
    done = subprocess.run(
        ["/bin/bash", str(SCRIPT)], env={"PATH": ":".join(path)}, capture_output=True, text=True, check=True
    )
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("python3.11", "echo 100")], 0),
        ([("python3.11", "echo 100"), ("python3.11", "echo 91")], 0),
        ([("python3.11", "echo 100"), ("python3.11", "echo 89")], 1),
        ([("python3.11", "echo 100"), ("python3.11", "echo 80"), ("python3.11", "echo 75")], 1),
        ([("python3.11", FAILS), ("python3.11", "echo 100")], 1),
        ([("python3.12", "echo 50"), ("python3.11", "echo 100")], 1),
        ([("python3.11", FAILS), ("python3.13", "echo 100")], 1),
        ([("python3", "echo 100")], 0),
        ([("python3.11", FAILS), ("python3.14", "echo 1")], None),
    ],
)
def test_the_oldest_supported_version_and_of_that_the_first_or_one_that_is_far_quicker(
    tmp_path: Path, found: list[tuple[str, str]], expected: int | None
) -> None:
    pythons = []
    for place, (name, does) in enumerate(found):
        python = tmp_path / str(place) / name
        python.parent.mkdir()
        python.write_text(f"#!/bin/bash\n{does}\n")
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        pythons.append(str(python))
    folders = [str(Path(python).parent) for python in pythons]
    assert chosen(folders) == ("" if expected is None else pythons[expected])


def test_a_real_one_is_measured(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    assert chosen([str(tmp_path)]) == str(tmp_path / "python3")
