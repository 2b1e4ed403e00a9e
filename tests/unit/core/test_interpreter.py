"""What a child process imports is what this one does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from service.core import interpreter


def test_a_module_of_this_package_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing from the working directory, where somebody may have put one of the same name."""
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    command = interpreter.command("service.core.interpreter", 1, "two")
    assert command[-2:] == ["1", "two"]
    assert subprocess.run(command, env=interpreter.environment(), check=False).returncode == 0


@pytest.mark.parametrize(("given", "expected"), [("/a", ["/a"]), (":/a::/b", ["/a", "/b"]), ("", []), (None, [])])
def test_the_path_is_what_the_operator_put_on_it(
    monkeypatch: pytest.MonkeyPatch, given: str | None, expected: list[str]
) -> None:
    """After this very package, and without the working directory, which an empty entry would mean."""
    if given is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", given)
    assert interpreter.environment()["PYTHONPATH"].split(os.pathsep) == [str(interpreter.ROOT), *expected]
