"""The ways to have one size of batch computed on a device: from arrays in the host's memory to arrays there.

Each adds to the one before: buffers of its own on the device (IOBinding), host memory that the device copies by itself,
and the whole run recorded once and replayed (CUDA graphs). Sources: ONNX Runtime's pages on I/O binding and on CUDA
graphs, which want fixed shapes, fixed addresses and all operators on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import onnxruntime

from service.core.contract import Array
from tests.bench.gpu.page_locked import PageLocked

Feed = Mapping[str, Array]
GRAPH_OPTIONS = {"cuda": "enable_cuda_graph", "tensorrt": "trt_cuda_graph_enable"}
_RUNS_BEFORE_REPLAY = 3  # one as usual, one recorded, one replayed


class Way(Protocol):
    """One session, ready for batches of the shapes that it was made for."""

    def run(self, feed: Feed) -> list[Array]:
        """The outputs, in the order of the session's."""
        ...

    def close(self) -> None:
        """Gives back what is not the session's."""
        ...


class Plain:
    """Arrays in, arrays out: ONNX Runtime finds memory and copies."""

    def __init__(self, session: onnxruntime.InferenceSession, feed: Feed, device: str) -> None:
        self._session = session

    def run(self, feed: Feed) -> list[Array]:
        """See `Way`."""
        return list(self._session.run(None, dict(feed)))

    def close(self) -> None:
        """See `Way`."""


class Bound:
    """Inputs and outputs have their places on the device.

    Args:
        session: whose inputs and outputs have the shapes of `feed` from now on.
        feed: a batch.
        device: as ONNX Runtime names it.
    """

    def __init__(self, session: onnxruntime.InferenceSession, feed: Feed, device: str) -> None:
        self._session = session
        self._options = self._run_options()
        # A copy: on the CPU, where the bench is tried, it would be the caller's own memory.
        self._inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array.copy(), device, 0) for name, array in feed.items()
        }
        like = self._answers_like(feed)
        self._outputs = [
            onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, device, 0) for array in like
        ]
        self._binding = session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for output, value in zip(session.get_outputs(), self._outputs, strict=True):
            self._binding.bind_ortvalue_output(output.name, value)

    def run(self, feed: Feed) -> list[Array]:
        """See `Way`."""
        for name, value in self._inputs.items():
            value.update_inplace(self._to_send(name, feed[name]))
        self._session.run_with_iobinding(self._binding, self._options)
        return [self._fetched(place, value) for place, value in enumerate(self._outputs)]

    def close(self) -> None:
        """See `Way`."""

    def _run_options(self) -> onnxruntime.RunOptions:
        return onnxruntime.RunOptions()

    def _answers_like(self, feed: Feed) -> list[Array]:
        return list(self._session.run(None, dict(feed)))

    def _to_send(self, _name: str, array: Array) -> Array:
        return np.ascontiguousarray(array)

    def _fetched(self, _place: int, value: onnxruntime.OrtValue) -> Array:
        return value.numpy()


class Pinned(Bound):
    """Through host memory that the device reads and writes by itself."""

    def __init__(self, session: onnxruntime.InferenceSession, feed: Feed, device: str) -> None:
        super().__init__(session, feed, device)
        self._locked = PageLocked()
        self._sent = {name: self._locked.empty(array.shape, array.dtype) for name, array in feed.items()}
        self._got = [self._locked.empty(array.shape, array.dtype) for array in self._answers_like(feed)]

    def close(self) -> None:
        """See `Way`."""
        self._locked.close()

    def _to_send(self, name: str, array: Array) -> Array:
        np.copyto(self._sent[name], array)
        return self._sent[name]

    def _fetched(self, place: int, value: onnxruntime.OrtValue) -> Array:
        self._locked.fetch(self._got[place], value.data_ptr())
        return self._got[place].copy()


class Recorded(Pinned):
    """Replays what the device was told once; for a session that was built with the option of `GRAPH_OPTIONS`."""

    def __init__(self, session: onnxruntime.InferenceSession, feed: Feed, device: str) -> None:
        super().__init__(session, feed, device)
        for _ in range(_RUNS_BEFORE_REPLAY):
            self.run(feed)

    def _run_options(self) -> onnxruntime.RunOptions:
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", "1")
        return options

    def _answers_like(self, feed: Feed) -> list[Array]:
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("gpu_graph_id", "-1")  # as usual: nothing of this run is recorded
        return list(self._session.run(None, dict(feed), options))


WAYS: Mapping[str, Callable[[onnxruntime.InferenceSession, Feed, str], Way]] = {
    "plain": Plain,
    "bound": Bound,
    "pinned": Pinned,
    "recorded": Recorded,
}
