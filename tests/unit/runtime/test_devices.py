"""What this machine can run, with drivers and libraries that are there, missing, or broken."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from service.runtime import devices
from service.runtime.devices import cuda_devices, find_obstacles, load_libraries

CUDNN = "libcudnn.so.9"


@pytest.fixture(autouse=True)
def preloads_afresh() -> Iterator[None]:
    """Each test is a process of its own, as far as its libraries go."""
    devices._preload.cache_clear()
    yield
    devices._preload.cache_clear()


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
    found = find_obstacles(opener(Driver(1), lambda name: name in {CUDNN, "libnvinfer.so.10"}))
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
        return name == CUDNN or name.startswith(str(tmp_path)) == (where == "wheel")

    assert load_libraries("tensorrt", opener(None, present)) == ""
    assert opened[:2] == [CUDNN, str(tmp_path / "libnvinfer.so.10")]  # the wheel's first
    assert len([name for name in opened if "nvinfer.so" in name]) == (1 if where == "wheel" else 2)


def test_the_cpu_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_load_cuda", lambda _: pytest.fail("not for the CPU"))
    assert load_libraries("cpu") == ""


def test_nothing_is_looked_for_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on the CPU opens no driver, and one on CUDA no library of TensorRT."""
    compiled_with(monkeypatch, *BOTH)
    preload(monkeypatch)
    opened: list[str] = []
    driver = Driver(1)

    def open_library(name: str) -> Any:
        opened.append(name)
        return driver

    found = find_obstacles(open_library)
    assert (found["cpu"], opened) == ("", [])
    assert (found["cuda"], found["cuda"]) == ("", "")
    assert opened == ["libcuda.so.1", CUDNN]  # once
    assert (len(found), set(found)) == (3, {"cpu", "cuda", "tensorrt"})


def test_cuda_without_cudnn_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preloader says nothing of it; a version would fail at its first convolution."""
    compiled_with(monkeypatch, *BOTH)
    preload(monkeypatch)
    assert find_obstacles(opener(Driver(1)))["cuda"] == "libcudnn.so.9 is not installed"
    assert find_obstacles(opener(Driver(1), lambda name: name == CUDNN))["cuda"] == ""


BY_PATH = "Failed to load /opt/my models/nvidia/lib/libcublas.so.13: file too short"
BY_NAME = "Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([BY_PATH], ""),  # what fails by its path may still be found by its name
        ([BY_PATH, BY_NAME], "libcublas.so.13 is not installed"),
        ([BY_PATH, BY_NAME.replace("cublas", "curand")], "libcurand.so.13 is not installed"),
    ],
)
def test_the_last_attempt_decides_and_no_path_is_told(
    monkeypatch: pytest.MonkeyPatch, lines: list[str], expected: str
) -> None:
    preload(monkeypatch, *lines)
    assert load_libraries("cuda", opener(None, lambda name: name == CUDNN)) == expected


def test_two_loads_at_once_preload_once_and_leave_standard_output_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, the second would put back the first one's buffer, and the server be silent for good."""
    calls: list[int] = []
    second, first_ended = threading.Event(), threading.Event()

    def preload_dlls() -> None:
        calls.append(1)
        if len(calls) == 1:
            second.wait(0.5)
        else:
            second.set()
            first_ended.wait(5)

    def load() -> None:
        load_libraries("cuda", opener(None))
        first_ended.set()

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload_dlls)
    before = sys.stdout
    threads = [threading.Thread(target=load) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sys.stdout is before
    finally:
        sys.stdout = before
    assert calls == [1]


def test_here() -> None:
    assert find_obstacles()["cpu"] == ""
