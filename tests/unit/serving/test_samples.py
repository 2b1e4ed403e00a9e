from __future__ import annotations

import struct
import threading
from typing import Any

import numpy as np
import pytest

from service.core.contract import Array, Arrays, TensorSpec
from service.core.errors import BadModel, NotReady, RunFailed, Stuck
from service.repository.config_tensors import WarmupInput, WarmupSample
from service.serving.samples import array_of, run_samples


class Runner:
    provider = "cpu"
    omitted_outputs = ()
    outputs = (TensorSpec("y", "FP32", ("N",)),)

    def __init__(self, error: Exception | None = None) -> None:
        self.inputs = (TensorSpec("x", "FP32", ("N", 2)),)
        self.seen: list[Arrays] = []
        self.error = error

    def run(self, arrays: Arrays) -> dict[str, Array]:
        self.seen.append(arrays)
        if self.error is not None:
            raise self.error
        return {}

    def stop(self) -> None: ...

    def close(self) -> None: ...


def sample(**more: Any) -> WarmupSample:
    return WarmupSample(name="w", inputs={"x": WarmupInput(datatype="FP32", dims=(2,))}, **more)


def run(samples: WarmupSample, *runners: Runner, max_rows: int | None = 8) -> None:
    run_samples([samples], runners, max_rows, threading.Event())


@pytest.mark.parametrize(("batch_size", "rows"), [(0, 1), (1, 1), (4, 4)])
def test_every_instance_runs_every_sample_as_often_as_it_says(batch_size: int, rows: int) -> None:
    one, other = Runner(), Runner()
    run(sample(batch_size=batch_size, count=3), one, other)
    for runner in (one, other):
        assert [arrays["x"].shape for arrays in runner.seen] == [(rows, 2)] * 3


def test_without_a_batch_axis_dims_are_whole() -> None:
    run(sample(), runner := Runner(), max_rows=None)
    assert runner.seen[0]["x"].shape == (2,)


def test_a_sample_that_does_not_fit_or_run_fails_the_load() -> None:
    with pytest.raises(BadModel, match="'w' has 9 rows, more than max_batch_size 8"):
        run(sample(batch_size=9), Runner())
    with pytest.raises(BadModel, match="warm-up sample 'w' does not run: too odd"):
        run(sample(), Runner(RunFailed("too odd")))
    runner = Runner()
    runner.inputs = (*runner.inputs, TensorSpec("z", "FP32", ("N",)))
    with pytest.raises(BadModel, match="'w' lacks input 'z'"):
        run(sample(), runner)
    assert runner.seen == []


def test_what_runs_a_sample_and_is_away_for_a_moment_does_not_make_the_sample_bad() -> None:
    with pytest.raises(NotReady):
        run(sample(), Runner(NotReady("not reachable")))


def test_a_load_that_is_given_up_stops_between_runs() -> None:
    cancelled = threading.Event()
    cancelled.set()
    runner = Runner()
    with pytest.raises(Stuck):
        run_samples([sample(count=1000)], [runner], 8, cancelled)
    assert runner.seen == []
    with pytest.raises(Stuck):
        run(sample(), Runner(Stuck("stopped")))


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64"])
def test_made_up_values_are_of_the_datatype(datatype: Any) -> None:
    zeros = array_of(WarmupInput(datatype=datatype, dims=(3, 50)), None, "m")
    drawn = array_of(WarmupInput(datatype=datatype, dims=(3, 50), data="random"), None, "m")
    assert zeros.dtype == drawn.dtype
    assert not zeros.any()
    assert len(np.unique(drawn)) > 1


def test_texts_are_empty_or_random_or_given() -> None:
    assert list(array_of(WarmupInput(datatype="BYTES", dims=(2,)), None, "m")) == [b"", b""]
    assert len(array_of(WarmupInput(datatype="BYTES", dims=(2,), data="random"), None, "m")[0]) == 8
    data = b"".join(struct.pack("<I", len(text)) + text for text in (b"ab", b"", b"c"))
    assert list(array_of(WarmupInput(datatype="BYTES", dims=(3,), data=data), None, "m")) == [b"ab", b"", b"c"]


@pytest.mark.parametrize("data", [b"", b"\1\0\0", b"\5\0\0\0ab", b"\1\0\0\0a\1\0\0\0b", b"\xff\xff\xff\xffa"])
def test_texts_with_wrong_lengths_are_refused(data: bytes) -> None:
    with pytest.raises(BadModel, match="does not hold 1 texts"):
        array_of(WarmupInput(datatype="BYTES", dims=(1,), data=data), None, "m")


def test_bytes_are_the_array_s() -> None:
    values = np.arange(4, dtype=np.int64)
    given = WarmupInput(datatype="INT64", dims=(2,), data=values.tobytes())
    assert np.array_equal(array_of(given, 2, "m"), values.reshape(2, 2))
    with pytest.raises(BadModel, match="has a file of 32 bytes, expected 16"):
        array_of(given, None, "m")


def test_a_sample_that_no_memory_holds_is_refused_before_it_is_made() -> None:
    with pytest.raises(BadModel, match="more than 268435456 elements"):
        array_of(WarmupInput(datatype="FP32", dims=(1 << 40,) * 5), None, "m")
