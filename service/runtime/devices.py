"""What this machine and this installation can run: asks the CUDA driver, loads the libraries the providers link.

ONNX Runtime lists the providers it was compiled with, not those that work, and falls back to the CPU with a log line
only. Looks at what is asked for alone: a server on the CPU loads no library of a GPU. A look takes a few hundred
milliseconds where there is one; what it loads stays loaded, so each process preloads CUDA's libraries once.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from service.runtime.onnx_runtime import onnxruntime
from service.runtime.providers import ORT_NAMES, Provider

# In the order in which they need one another. The wheels of TensorRT 10 keep them in the package tensorrt_libs.
_TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10")
_CUDNN = "libcudnn.so.9"
# ONNX Runtime tries a wheel's library by its path, then by its bare name: only what fails by that is missing.
_MISSING = re.compile(r"Failed to load ([^/\\:\s]+):", re.ASCII)
_PRELOADING = threading.Lock()  # sys.stdout, between the threads of loads

OpenLibrary = Callable[[str], Any]


def find_obstacles(open_library: OpenLibrary = ctypes.CDLL) -> Mapping[Provider, str]:
    """Why each provider is not to be had here, "" where nothing is in its way; for `providers.choose_provider`.

    A provider is looked at when it is first asked for, by whichever thread.

    Args:
        open_library: loads a shared library by name or path, or raises OSError.
    """
    return _Obstacles(open_library)


class _Obstacles(Mapping[Provider, str]):
    def __init__(self, open_library: OpenLibrary) -> None:
        self._open_library = open_library
        self._found: dict[Provider, str] = {"cpu": ""}

    def __getitem__(self, provider: Provider) -> str:
        if provider not in self._found:
            self._found[provider] = self._look(provider)
        return self._found[provider]

    def __iter__(self) -> Iterator[Provider]:
        return iter(get_args(Provider))

    def __len__(self) -> int:
        return len(get_args(Provider))

    def _look(self, provider: Provider) -> str:
        if ORT_NAMES[provider] not in onnxruntime.get_available_providers():
            return "this build of ONNX Runtime lacks it"
        if cuda_devices(self._open_library) == 0:
            return "the driver shows no CUDA device"
        return load_libraries(provider, self._open_library)


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
    missing = _load_cuda(open_library)
    return missing if missing or provider == "cuda" else _load_tensorrt(open_library)


def _load_cuda(open_library: OpenLibrary) -> str:
    """The preloader does not tell of a missing cuDNN, without which a version fails at its first convolution."""
    with _PRELOADING:
        missing = _preload()
    if not missing and not _opens(_CUDNN, open_library):
        missing = _CUDNN
    return f"{missing} is not installed" if missing else ""


@functools.cache
def _preload() -> str:
    """Loads CUDA's libraries into this process and names the first that is missing, else ""; one thread at a time.

    ONNX Runtime's own loader tells of failures by printing, which must not reach the server's output.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        onnxruntime.preload_dlls()
    failed = filter(None, map(_MISSING.match, said.getvalue().splitlines()))
    return next((line[1] for line in failed), "")


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
