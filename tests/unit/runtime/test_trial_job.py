"""What goes into the pipe comes out of it, every datatype and option included, and none of it is a pickle."""

from __future__ import annotations

import io
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from service.core.contract import DTYPES, Array
from service.runtime.providers import RunnerOptions
from service.runtime.trial_job import TrialJob, read_job

OPTIONS = RunnerOptions(
    provider="tensorrt",
    threads=3,
    max_batch_size=7,
    cache_dir=Path("somewhere/else"),
    memory_limit_bytes=1 << 33,
    provider_options=MappingProxyType({"device_id": 1, "allow_spinning": True, "name": "x", "share": 0.5}),
    device_id=1,
)


def through(job: TrialJob) -> TrialJob:
    pipe = io.BytesIO()
    job.write(pipe)
    assert b"numpy" not in pipe.getvalue()
    pipe.seek(0)
    read = read_job(pipe)
    assert pipe.read() == b""
    return read


def array(datatype: str, shape: tuple[int, ...]) -> Array:
    if datatype == "BYTES":
        elements = np.empty(int(np.prod(shape)), np.object_)
        elements[:] = [b"\n\0" * (index % 3) for index in range(elements.size)]
        return elements.reshape(shape)
    return np.arange(int(np.prod(shape))).reshape(shape).astype(DTYPES[datatype])


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4)])
def test_every_datatype_and_shape_comes_through(datatype: str, shape: tuple[int, ...]) -> None:
    sent = array(datatype, shape)
    [feed] = through(TrialJob(b"m", {}, [{"x": sent}], RunnerOptions())).feeds
    assert (feed["x"].dtype, feed["x"].shape) == (sent.dtype, shape)
    assert feed["x"].tolist() == sent.tolist()


def test_files_feeds_and_options_come_through_in_order() -> None:
    feeds = [{"a": np.ones(2, np.float32), "b": np.zeros((1, 2), np.int64)}, {"a": np.full(1, 5, np.float32)}]
    job = TrialJob(b"\x08\n\x80model", {"w/1.bin": b"\nweights", "empty": b""}, feeds, OPTIONS)
    read = through(job)
    assert (read.onnx, read.external) == (job.onnx, job.external)
    assert [{name: value.tolist() for name, value in feed.items()} for feed in read.feeds] == [
        {"a": [1, 1], "b": [[0, 0]]},
        {"a": [5]},
    ]
    assert read.options == OPTIONS


def test_an_array_that_is_not_contiguous_comes_through() -> None:
    sent = np.arange(12, dtype=np.float32).reshape(3, 4).T
    [feed] = through(TrialJob(b"", {}, [{"x": sent}], RunnerOptions())).feeds
    assert np.array_equal(feed["x"], sent)
