"""What a trial's child is given, as bytes on a pipe: one line of JSON that says what follows, then the blobs.

Nothing on the pipe is executable: no pickle, so that neither side can be made to run the other's words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from service.core.contract import DTYPES, Array, Arrays
from service.runtime.providers import RunnerOptions

_BYTES = DTYPES["BYTES"]


@dataclass(frozen=True, slots=True)
class TrialJob:
    """A version to load, inputs to run, and how.

    Attributes:
        onnx: the model file.
        external: external data by location.
        feeds: inputs for one run each.
        options: of the runner.
    """

    onnx: bytes
    external: Mapping[str, bytes]
    feeds: Sequence[Arrays]
    options: RunnerOptions

    def write(self, pipe: IO[bytes]) -> None:
        """Writes the whole job; blobs go out one by one, without a second copy of all of them."""
        options = {field.name: getattr(self.options, field.name) for field in fields(self.options)}
        options["cache_dir"] = self.options.cache_dir and str(self.options.cache_dir)
        for name in ("provider_options", "session"):
            options[name] = dict(options[name])
        head = {
            "onnx": len(self.onnx),
            "external": {location: len(data) for location, data in self.external.items()},
            "feeds": [{name: _described(array) for name, array in feed.items()} for feed in self.feeds],
            "options": options,
        }
        pipe.write(json.dumps(head).encode() + b"\n")
        for blob in self._blobs():
            pipe.write(blob)

    def _blobs(self) -> Iterator[bytes]:
        yield self.onnx
        yield from self.external.values()
        for feed in self.feeds:
            for array in feed.values():
                yield b"".join(array.ravel()) if array.dtype == _BYTES else array.tobytes()


def read_job(pipe: IO[bytes]) -> TrialJob:
    """Reads what `TrialJob.write` wrote."""
    head = json.loads(pipe.readline())
    onnx = pipe.read(head["onnx"])
    external = {location: pipe.read(size) for location, size in head["external"].items()}
    feeds = [{name: _array(pipe, said) for name, said in feed.items()} for feed in head["feeds"]]
    options: dict[str, Any] = head["options"]
    cache_dir = options.pop("cache_dir")
    return TrialJob(onnx, external, feeds, RunnerOptions(cache_dir=Path(cache_dir) if cache_dir else None, **options))


def _described(array: Array) -> dict[str, Any]:
    said: dict[str, Any] = {"shape": array.shape, "bytes": array.nbytes}
    if array.dtype == _BYTES:
        return said | {"lengths": [len(element) for element in array.ravel()]}
    return said | {"dtype": array.dtype.str}


def _array(pipe: IO[bytes], said: Mapping[str, Any]) -> Array:
    if "dtype" in said:
        return np.frombuffer(pipe.read(said["bytes"]), said["dtype"]).reshape(said["shape"])
    elements = np.empty(len(said["lengths"]), _BYTES)
    elements[:] = [pipe.read(size) for size in said["lengths"]]
    return elements.reshape(said["shape"])
