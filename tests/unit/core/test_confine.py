"""The bounds of a child process, seen from inside and from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.core import confine, interpreter

MIB = 1 << 20


def run(script: str) -> str:
    """What a child prints that runs `script`."""
    command = [sys.executable, "-P", "-c", f"from service.core.confine import *\n{script}"]
    ended = subprocess.run(command, env=interpreter.environment(), capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.mark.parametrize(("bound_mib", "fits"), [(64, False), (512, True)])
def test_memory_is_bounded(bound_mib: int, fits: bool) -> None:
    script = f"""
confine({bound_mib * MIB})
try:
    bytearray({128 * MIB})
    print("fits")
except MemoryError:
    print("does not")
"""
    assert run(script) == ("fits" if fits else "does not")


def test_files_are_bounded_those_in_memory_too() -> None:
    script = """
import os
confine_files(1000, 64)
file = os.memfd_create("x")
for attempt in (lambda: os.pwrite(file, b"x", 1000), lambda: os.ftruncate(file, 1001)):
    try:
        attempt()
        print("written")
    except OSError:
        print("refused", end=" ")
print(os.pwrite(file, b"x", 999), resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert run(script) == "refused refused 1 (64, 64)"


def test_what_the_operator_allows_is_less_already() -> None:
    script = f"""
for number, most in ((resource.RLIMIT_DATA, {1024 * MIB}), (resource.RLIMIT_FSIZE, 500), (resource.RLIMIT_NOFILE, 32)):
    resource.setrlimit(number, (most, most))
confine({4096 * MIB})
confine_files(1000, 64)
print([resource.getrlimit(number) for number in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)])
print(resource.getrlimit(resource.RLIMIT_DATA))
"""
    assert run(script).splitlines() == ["[(500, 500), (32, 32)]", f"({1024 * MIB}, {1024 * MIB})"]


def test_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the calls that would change this process noted instead of made."""
    made: dict[str, object] = {}
    monkeypatch.setattr(confine.resource, "setrlimit", lambda which, pair: made.update({str(which): pair}))
    monkeypatch.setattr(Path, "write_text", lambda self, text, **_: made.update({self.name: text}))
    confine.confine(1000)
    data_limit = made[str(confine.resource.RLIMIT_DATA)]
    assert isinstance(data_limit, tuple)
    assert data_limit[0] == data_limit[1] == pytest.approx(confine.data_bytes() + 1000, rel=0.05)
    assert made[str(confine.resource.RLIMIT_CORE)] == (0, 0)
    assert made["oom_score_adj"] == "1000"

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refused)
    confine.confine(1000)


def test_data_bytes(tmp_path: Path) -> None:
    status = tmp_path / "status"
    assert confine.data_bytes(status) == 0
    status.write_text("VmPeak:\t 9 kB\nVmData:\t    3 kB\n")
    assert confine.data_bytes(status) == 3072
    status.write_text("")
    assert confine.data_bytes(status) == 0
