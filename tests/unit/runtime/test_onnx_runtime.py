"""Nothing is told to anybody: ONNX Runtime's telemetry is off before the first of its functions is called."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3] / "service"
PROBE = """
import sys, importlib, onnxruntime
called = []
onnxruntime.disable_telemetry_events = lambda: called.append(True)
importlib.import_module(sys.argv[1])
assert called, "it is on"
"""


@pytest.mark.parametrize("module", ["service.runtime.devices", "service.runtime.failures", "service.runtime.onnx"])
def test_whatever_comes_first_turns_telemetry_off(module: str) -> None:
    subprocess.run([sys.executable, "-c", PROBE, module], check=True)


def test_the_service_has_one_way_to_it() -> None:
    direct = re.compile(r"^\s*(import onnxruntime|from onnxruntime)", re.M)
    found = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if direct.search(path.read_text())]
    assert found == ["runtime/onnx_runtime.py"]
