"""What this machine and this installation can run: asks the CUDA driver, loads the libraries the providers link.

ONNX Runtime lists the providers it was compiled with, not those that work, and falls back to the CPU with a log line
only. A look takes a few hundred milliseconds where there is a GPU: one at start, and one before each session on it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime

from service.runtime.providers import ORT_NAMES, Provider

# In the order in which they need one another. The wheels of TensorRT 10 keep them in the package tensorrt_libs.
_TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")

OpenLibrary = Callable[[str], Any]


def find_obstacles(open_library: OpenLibrary = ctypes.CDLL) -> dict[Provider, str]:
    """Why each provider is not to be had here, "" where nothing is in its way; for `providers.choose_provider`.

    Args:
        open_library: loads a shared library by name or path, or raises OSError.
    """
    compiled_in = onnxruntime.get_available_providers()
    devices = cuda_devices(open_library)

    def obstacle(provider: Provider) -> str:
        if ORT_NAMES[provider] not in compiled_in:
            return "this build of ONNX Runtime lacks it"
        if devices == 0:
            return "the driver shows no CUDA device"
        return load_libraries(provider, open_library)

    return {"cpu": "", "cuda": obstacle("cuda"), "tensorrt": obstacle("tensorrt")}


def cuda_devices(open_library: OpenLibrary = ctypes.CDLL) -> int:
    """How many CUDA devices the driver shows this process; 0 without a driver."""
    try:
        driver = open_library("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def load_libraries(provider: Provider, open_library: OpenLibrary = ctypes.CDLL) -> str:
    """Loads the libraries that a provider links, from their wheels or the system.

    Returns:
        What is missing, as one clause; "" when all is there, and for the CPU.
    """
    if provider == "cpu":
        return ""
    missing = _load_cuda()
    return missing if missing or provider == "cuda" else _load_tensorrt(open_library)


def _load_cuda() -> str:
    """ONNX Runtime's own loader tells of failures by printing, which must not reach the server's output."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        onnxruntime.preload_dlls()
    failed = [line for line in said.getvalue().splitlines() if line.startswith("Failed to load")]
    return f"{failed[0].split()[3].rstrip(':')} is not installed" if failed else ""


def _load_tensorrt(open_library: OpenLibrary) -> str:
    wheel = importlib.util.find_spec("tensorrt_libs")
    folders = [Path(folder) for folder in (wheel.submodule_search_locations or [])] if wheel else []
    for name in _TENSORRT_LIBRARIES:
        candidates = [*(str(folder / name) for folder in folders), name]
        if not any(_opens(candidate, open_library) for candidate in candidates):
            return f"{name} is not installed"
    return ""


def _opens(library: str, open_library: OpenLibrary) -> bool:
    try:
        open_library(library)
    except OSError:
        return False
    return True
