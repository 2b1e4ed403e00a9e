"""What this machine can run, with drivers and libraries that are there, missing, or broken."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from service.runtime import devices
from service.runtime.devices import cuda_devices, find_obstacles, load_libraries


class Driver:
    """libcuda as far as it is asked."""

    def __init__(self, count: int, init_error: int = 0, count_error: int = 0) -> None:
        self._count, self._init_error, self._count_error = count, init_error, count_error

    def cuInit(self, flags: int) -> int:
        assert flags == 0
        return self._init_error

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self._count
        return self._count_error


def opener(driver: Driver | None, present: Callable[[str], bool] = lambda _: False) -> Callable[[str], Any]:
    """Opens the driver, and whatever else is `present`."""

    def open_library(name: str) -> Any:
        if name == "libcuda.so.1" and driver is not None:
            return driver
        if present(name):
            return object()
        raise OSError(name)

    return open_library


@pytest.mark.parametrize(
    ("driver", "expected"),
    [(Driver(2), 2), (Driver(0), 0), (Driver(2, init_error=100), 0), (Driver(2, count_error=3), 0), (None, 0)],
)
def test_cuda_devices(driver: Driver | None, expected: int) -> None:
    assert cuda_devices(opener(driver)) == expected


def compiled_with(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers, "CPUExecutionProvider"])


BOTH = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


def test_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_with(monkeypatch, *BOTH)
    missing = "the driver shows no CUDA device"
    assert find_obstacles(opener(None)) == {"cpu": "", "cuda": missing, "tensorrt": missing}


def test_a_build_without_gpu_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_with(monkeypatch)
    lacks = "this build of ONNX Runtime lacks it"
    assert find_obstacles(opener(Driver(1))) == {"cpu": "", "cuda": lacks, "tensorrt": lacks}


def preload(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """ONNX Runtime's loader, which tells of what it misses by printing."""

    def preload_dlls() -> None:
        for line in lines:
            sys.stdout.write(f"{line}\n")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload_dlls)


def test_missing_cuda_libraries_are_named_and_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled_with(monkeypatch, *BOTH)
    preload(monkeypatch, "Failed to load libcublasLt.so.13: libcublasLt.so.13: cannot open", "Please follow https://x")
    found = find_obstacles(opener(Driver(1)))
    assert found["cuda"] == found["tensorrt"] == "libcublasLt.so.13 is not installed"
    assert capsys.readouterr().out == ""


def test_cuda_there_tensorrt_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_with(monkeypatch, *BOTH)
    preload(monkeypatch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = find_obstacles(opener(Driver(1), lambda name: name == "libnvinfer.so.10"))
    assert found == {"cpu": "", "cuda": "", "tensorrt": "libnvinfer_plugin.so.10 is not installed"}


@pytest.mark.parametrize("where", ["wheel", "system"])
def test_tensorrt_from_its_wheel_or_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str) -> None:
    preload(monkeypatch)
    spec = ModuleSpec("tensorrt_libs", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    opened: list[str] = []

    def present(name: str) -> bool:
        opened.append(name)
        return name.startswith(str(tmp_path)) == (where == "wheel")

    assert load_libraries("tensorrt", opener(None, present)) == ""
    assert opened[0] == str(tmp_path / "libnvinfer.so.10")  # the wheel's first
    assert len([name for name in opened if "nvinfer.so" in name]) == (1 if where == "wheel" else 2)


def test_the_cpu_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_load_cuda", lambda: pytest.fail("not for the CPU"))
    assert load_libraries("cpu") == ""


def test_here() -> None:
    assert find_obstacles()["cpu"] == ""
