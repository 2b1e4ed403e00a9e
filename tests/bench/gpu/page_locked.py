"""Host memory that the system may not move, which a GPU copies from and to by itself: `cudaHostRegister`.

Source: CUDA Runtime API, Memory Management. ONNX Runtime's Python has no name for such memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from service.core.contract import Array

LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
_TO_HOST = 2  # cudaMemcpyDeviceToHost


class CudaError(RuntimeError):
    """CUDA refused."""


class PageLocked:
    """Arrays of the caller that stay where they are until `close`.

    Args:
        runtime: CUDA's runtime library; None for the one that is installed.

    Raises:
        CudaError: there is none.
    """

    def __init__(self, runtime: Any = None) -> None:
        self._runtime = runtime or _runtime()
        self._held: list[Array] = []

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """A new array in such memory. Raises CudaError."""
        array = np.empty(shape, dtype)
        self._check(self._runtime.cudaHostRegister(_address(array), ctypes.c_size_t(max(1, array.nbytes)), 0))
        self._held.append(array)
        return array

    def fetch(self, array: Array, device_address: int) -> None:
        """Copies from the GPU's memory into `array`, and waits for it. Raises CudaError."""
        size = ctypes.c_size_t(array.nbytes)
        self._check(self._runtime.cudaMemcpy(_address(array), ctypes.c_void_p(device_address), size, _TO_HOST))

    def close(self) -> None:
        """Lets all of them move again."""
        while self._held:
            self._runtime.cudaHostUnregister(_address(self._held.pop()))

    def _check(self, code: int) -> None:
        if code:
            name = self._runtime.cudaGetErrorString
            name.restype = ctypes.c_char_p
            raise CudaError(f"CUDA refused: {name(code).decode()}")


def _address(array: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _runtime() -> Any:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CudaError(f"there is no CUDA runtime here, looked for {', '.join(LIBRARIES)}")
