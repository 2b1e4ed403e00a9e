"""The runner over real sessions: every datatype and layout, errors, stopping, closing, overhead."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper

from service.core.contract import Arrays
from service.core.errors import BadInput, BadModel, RetortError, RunFailed, Stuck
from service.runtime.long_runs import REST_S
from service.runtime.memory import resident_bytes
from service.runtime.onnx import OnnxRunner, runtime_version
from service.runtime.providers import RunnerOptions
from service.runtime.runner import Runner
from tests.support.real_data import real_data
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

CPU = RunnerOptions()
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def load(onnx: bytes) -> OnnxRunner:
    return OnnxRunner.load(onnx, {}, CPU)


def text(*elements: bytes) -> np.ndarray:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def test_it_is_a_runner() -> None:
    runner: Runner = load(graphs.linear())
    assert runner.provider == "cpu"
    assert [spec.name for spec in runner.inputs] == ["x"]
    assert [spec.shape for spec in runner.outputs] == [(-1, 10)]
    assert runner.omitted_outputs == ()
    assert runtime_version() == onnxruntime.__version__


@pytest.mark.parametrize(
    ("elem_type", "array"),
    [
        (TensorProto.BOOL, np.array([[True, False, True, False]])),
        (TensorProto.UINT8, np.array([[0, 1, 254, 255]], np.uint8)),
        (TensorProto.UINT16, np.array([[0, 1, 2, 65535]], np.uint16)),
        (TensorProto.UINT32, np.array([[0, 1, 2, 2**32 - 1]], np.uint32)),
        (TensorProto.UINT64, np.array([[0, 1, 2, 2**64 - 1]], np.uint64)),
        (TensorProto.INT8, np.array([[-128, -1, 0, 127]], np.int8)),
        (TensorProto.INT16, np.array([[-(2**15), -1, 0, 2**15 - 1]], np.int16)),
        (TensorProto.INT32, np.array([[-(2**31), -1, 0, 2**31 - 1]], np.int32)),
        (TensorProto.INT64, np.array([[-(2**63), -1, 0, 2**63 - 1]], np.int64)),
        (TensorProto.FLOAT16, np.array([[-1.5, 0, np.inf, np.nan]], np.float16)),
        (TensorProto.FLOAT, np.array([[-1.5, 0, np.inf, np.nan]], np.float32)),
        (TensorProto.DOUBLE, np.array([[-1.5, 0, np.inf, np.nan]], np.float64)),
        (TensorProto.STRING, text(b"a", b"", b"b\0c", "\u00e9\U0001f600".encode()).reshape(1, 4)),
    ],
)
def test_every_datatype_passes_unchanged(elem_type: int, array: np.ndarray) -> None:
    out = load(graphs.identity(elem_type)).run({"x": array})["y"]
    assert out.dtype == array.dtype
    assert_array_equal(out, array)


@pytest.mark.parametrize("shape", [(0, 4), (3, 4)])
@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT, TensorProto.STRING])
def test_no_rows_and_some(elem_type: int, shape: tuple[int, int]) -> None:
    array = np.full(shape, b"s", dtype=object) if elem_type == TensorProto.STRING else np.ones(shape, np.float32)
    assert_array_equal(load(graphs.identity(elem_type)).run({"x": array})["y"], array)


@pytest.mark.parametrize("elem_type", [TensorProto.FLOAT, TensorProto.STRING])
def test_scalars(elem_type: int) -> None:
    array = np.array(b"s", dtype=object) if elem_type == TensorProto.STRING else np.array(3, np.float32)
    out = load(graphs.identity(elem_type, ())).run({"x": array})["y"]
    assert (out.shape, out[()]) == ((), array[()])


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        ROWS.repeat(2, axis=0)[::2],
        np.ascontiguousarray(ROWS.T).T,
        np.asfortranarray(ROWS),
        np.arange(16, dtype=np.float32).reshape(2, 8)[:, ::2],
        ROWS[::-1],
        np.broadcast_to(ROWS[:1], (2, 4)),
        read_only(ROWS),
        np.frombuffer(bytes(range(33)), np.float32, 8, offset=1).reshape(2, 4),  # unaligned, as in a message's middle
    ],
)
def test_any_memory_layout(array: np.ndarray) -> None:
    assert_array_equal(load(graphs.identity()).run({"x": array})["y"], array)


def test_outputs_are_all_answered_in_order() -> None:
    names = ["c", "a", "b"]
    onnx = graphs.model(
        [helper.make_node("Identity", ["x"], [name]) for name in names],
        [value("x", TensorProto.FLOAT, ["N", 4])],
        [value(name, TensorProto.FLOAT, ["N", 4]) for name in names],
    )
    assert list(load(onnx).run({"x": ROWS})) == names


def test_omitted_outputs_are_named_and_not_computed() -> None:
    onnx = graphs.model(
        [helper.make_node("SequenceConstruct", ["x"], ["s"]), helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None), value("y", TensorProto.FLOAT, ["N", 4])],
    )
    runner = load(onnx)
    assert runner.omitted_outputs == ("s",)
    assert list(runner.run({"x": ROWS})) == ["y"]


def test_an_input_with_a_default_keeps_it() -> None:
    onnx = graphs.model(
        [helper.make_node("Add", ["x", "b"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 4]), value("b", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor("b", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])],
    )
    assert_array_equal(load(onnx).run({"x": ROWS})["y"], ROWS + np.array([1, 2, 3, 4], np.float32))


def test_a_model_without_inputs() -> None:
    assert load(graphs.greedy(40)).run({})["y"].shape == (10,)


# Errors


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "missing"),
        ({"x": ROWS, "z": ROWS}, "there is no input 'z'"),
        ({"x": ROWS.astype(np.float64)}, "input 'x' is of dtype float64, expected float32"),
        ({"x": ROWS.astype(">f4")}, "input 'x' is of dtype >f4, expected float32"),
        ({"x": np.ones((2, 5), np.float32)}, "index: 1 Got: 5 Expected: 4"),
        ({"x": np.ones(4, np.float32)}, "Invalid rank for input: x Got: 1 Expected: 2"),
    ],
)
def test_arrays_that_do_not_fit(arrays: Arrays, words: str) -> None:
    runner = load(graphs.identity())
    with pytest.raises(BadInput, match=words):
        runner.run(arrays)
    assert_array_equal(runner.run({"x": ROWS})["y"], ROWS)


def test_onnx_runtime_would_read_the_other_byte_order_as_numbers() -> None:
    """Negative control of the dtype check: what comes back is not what went in."""
    session = onnxruntime.InferenceSession(graphs.identity(), providers=["CPUExecutionProvider"])
    assert not np.array_equal(session.run(None, {"x": ROWS.astype(">f4")})[0], ROWS)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (text(b"ok", b"\xff\xfe"), "input 'x' holds a string that is not UTF-8"),
        (np.array([b"fixed", b"width"]), "input 'x' is of dtype [|]S5, expected object"),
    ],
)
def test_strings_that_do_not_fit(array: np.ndarray, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        load(graphs.identity(TensorProto.STRING, ["N"])).run({"x": array})


def test_onnx_runtime_would_write_bytes_as_python_does() -> None:
    """Negative control of the decoding."""
    session = onnxruntime.InferenceSession(
        graphs.identity(TensorProto.STRING, ["N"]), providers=["CPUExecutionProvider"]
    )
    assert session.run(None, {"x": text(b"a")})[0].tolist() == ["b'a'"]


def test_a_string_output_that_is_not_utf8_fails() -> None:
    onnx = graphs.model(
        [helper.make_node("Identity", ["k"], ["y"])],
        [],
        [value("y", TensorProto.STRING, [1])],
        [helper.make_tensor("k", TensorProto.STRING, [1], [b"\xff"])],
    )
    with pytest.raises(RunFailed, match="an output holds a string that is not UTF-8"):
        load(onnx).run({})


def reshape() -> bytes:
    return graphs.model(
        [helper.make_node("Reshape", ["x", "s"], ["y"], name="r1")],
        [value("x", TensorProto.FLOAT, ["N"]), value("s", TensorProto.INT64, ["k"])],
        [value("y", TensorProto.FLOAT, None)],
    )


def test_a_run_that_fails_says_where_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    runner = load(reshape())
    with pytest.raises(RunFailed, match=r"Reshape node 'r1': .*Input shape:\{4\}, requested shape:\{3,2\}") as caught:
        runner.run({"x": np.ones(4, np.float32), "s": np.array([3, 2])})
    assert "/" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    assert runner.run({"x": np.ones(4, np.float32), "s": np.array([2, 2])})["y"].shape == (2, 2)


def test_a_run_that_asks_for_too_much_memory_fails_alone() -> None:
    with pytest.raises(RunFailed, match="not enough memory for this run"):
        load(graphs.greedy(1 << 50)).run({})


@pytest.mark.parametrize("elements", [2**50, 2**61 - 5, 2**60 + 2**58])
def test_nor_do_later_runs_fail_for_it(elements: int) -> None:
    """Bytes that are many, and so many that twice as many are no number of 64 bits."""
    runner = load(graphs.ones())
    with pytest.raises(RunFailed):
        runner.run({"s": np.array([elements])})
    for wanted in (1, 10**3, 10**6, 10**7):
        assert runner.run({"s": np.array([wanted])})["y"].shape == (wanted,)


def test_an_arena_that_is_broken_already_fails_one_run() -> None:
    runner = load(graphs.ones())
    with pytest.raises(Exception, match="Failed to allocate memory"):
        runner._session.run(None, {"s": np.array([2**60 + 2**58])}, runner._run_options)
    with pytest.raises(RunFailed, match="overflow"):
        runner.run({"s": np.array([10**6])})
    assert runner.run({"s": np.array([10**6])})["y"].shape == (10**6,)


class Attended:
    """A session that notes which runs were told to end before they began, and says when one has failed."""

    def __init__(self, session: Any, failed: Callable[[], None] = lambda: None) -> None:
        self.told_to_end: list[bool] = []
        self._session = session
        self._failed = failed

    def run(self, names: list[str], feeds: Any, options: Any) -> Any:
        self.told_to_end.append(options.terminate)
        try:
            return self._session.run(names, feeds, options)
        except Exception:
            self._failed()
            raise


def test_nor_where_it_is_stopped_while_it_fails() -> None:
    """Its client has left: the others' runs need memory all the same."""
    runner = load(graphs.ones())
    runner._session = Attended(runner._session, failed=runner.stop)
    with pytest.raises(Stuck):
        runner.run({"s": np.array([2**61 - 5])})
    assert runner.run({"s": np.array([10**6])})["y"].shape == (10**6,)


def test_memory_that_one_large_run_took_is_given_back_once_it_is_long_over() -> None:
    skipped_s = 0.0
    runner = load(graphs.rows_squared())
    runner._now_s = lambda: time.monotonic() + skipped_s
    large, small = ({"x": np.ones((rows, 1), np.float32)} for rows in (9000, 3))  # 309 MiB, nothing
    runner.run(small)
    before_bytes = resident_bytes()
    runner.run(large)
    runner.run(small)
    assert resident_bytes() - before_bytes > 200 << 20, "it would be taken anew by each such run"
    skipped_s = REST_S
    runner.run(small)
    assert resident_bytes() - before_bytes < 50 << 20
    assert runner.run(small)["y"].ravel().tolist() == [3, 3, 3]


def test_such_a_run_computes_nothing_twice() -> None:
    runner = load(graphs.ones())
    runner._session = attended = Attended(runner._session)
    with pytest.raises(RunFailed):
        runner.run({"s": np.array([2**61 - 5])})
    assert attended.told_to_end == [False, True]


def test_a_session_without_an_arena_has_none_that_breaks() -> None:
    runner = OnnxRunner.load(graphs.ones(), {}, RunnerOptions(session={"mem_arena": False}))
    with pytest.raises(RunFailed, match="not enough memory"):
        runner.run({"s": np.array([2**50])})
    assert runner.run({"s": np.array([3])})["y"].shape == (3,)


def test_an_index_out_of_range_is_the_clients_fault() -> None:
    onnx = graphs.model(
        [helper.make_node("Gather", ["t", "i"], ["y"])],
        [value("i", TensorProto.INT64, ["N"])],
        [value("y", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("t", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0])],
    )
    runner = load(onnx)
    with pytest.raises(BadInput, match="idx=7 must be within the inclusive range"):
        runner.run({"i": np.array([0, 7])})


@pytest.mark.parametrize("onnx", [b"junk" * 30, graphs.identity(TensorProto.BFLOAT16)])
def test_what_cannot_be_served_does_not_load(onnx: bytes) -> None:
    with pytest.raises(BadModel):
        load(onnx)


# Stopping and closing


def endless() -> Arrays:
    return {"n": np.array(10**12), "x": graphs.EYE}


def short() -> Arrays:
    return {"n": np.array(2), "x": graphs.EYE}


class Watched:
    """A session that tells when it was handed a run, and with which options."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self.entered = threading.Event()
        self.options: onnxruntime.RunOptions | None = None

    def run(self, names: list[str], feeds: Arrays, options: onnxruntime.RunOptions) -> Any:
        self.options = options
        self.entered.set()
        return self._session.run(names, feeds, options)


@contextmanager
def running(runner: OnnxRunner, arrays: Arrays) -> Iterator[list[RetortError]]:
    """Runs in a thread; what it raised is in the list once the block has ended.

    The run is under way when the block begins, however late its thread gets a turn. It does not outlive the block,
    whether or not the block stopped it, so that no endless run goes on beside other tests.
    """
    raised: list[RetortError] = []
    runner._session = watched = Watched(runner._session)

    def target() -> None:
        try:
            runner.run(arrays)
        except RetortError as error:
            raised.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    assert watched.entered.wait(30)
    thread.join(0.05)
    assert thread.is_alive()
    try:
        yield raised
        thread.join(30)
        assert not thread.is_alive(), "the run goes on"
    finally:
        assert watched.options is not None
        watched.options.terminate = True
        thread.join(30)


def test_stop_ends_the_run_in_flight() -> None:
    runner = load(graphs.loop())
    with running(runner, endless()) as raised:
        runner.stop()
    assert [type(error) for error in raised] == [Stuck]
    assert runner.run(short())["y"].shape == (64, 64)


def test_a_stop_without_a_run_hits_nobody() -> None:
    runner = load(graphs.loop())
    for _ in range(3):
        runner.stop()
    assert runner.run(short())["y"].shape == (64, 64)


def test_many_stops_from_many_threads() -> None:
    runner = load(graphs.loop())
    with running(runner, endless()) as raised, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: runner.stop(), range(64)))
    assert [type(error) for error in raised] == [Stuck]
    assert runner.run(short())["y"].shape == (64, 64)


def test_runs_between_stops_are_whole_or_stuck() -> None:
    """Stops that race with short runs: each run answers or says Stuck, never anything else."""
    runner = load(graphs.loop())
    done = threading.Event()

    def stopping() -> None:
        while not done.wait(0.0005):
            runner.stop()

    thread = threading.Thread(target=stopping, daemon=True)
    thread.start()
    try:
        for _ in range(200):
            try:
                assert runner.run(short())["y"].shape == (64, 64)
            except Stuck:
                continue
    finally:
        done.set()
        thread.join()


def test_a_closed_runner_says_so() -> None:
    runner = load(graphs.linear())
    runner.close()
    runner.close()
    with pytest.raises(RunFailed, match="this version is closed"):
        runner.run({"x": np.zeros((1, 64), np.float32)})


def test_close_waits_for_nobody_and_harms_nobody() -> None:
    runner = load(graphs.loop())
    with running(runner, endless()) as raised:
        runner.close()
        runner.stop()
    assert [type(error) for error in raised] == [Stuck]


# Cost


def quickest_us(call: Callable[[], object], calls: int = 100) -> float:
    """The least of many, which no stall of the machine touches."""
    taken_s = []
    for _ in range(calls):
        start_s = time.perf_counter()
        call()
        taken_s.append(time.perf_counter() - start_s)
    return min(taken_s) * 1e6


def test_overhead_over_a_bare_run() -> None:
    """A tenth of it, 0.4 us of 4; half of it under a tracer written in C, and 7 times it under one in Python."""
    runner = load(graphs.linear())
    session = runner._session
    assert session is not None
    feeds = {"x": np.ones((1, 64), np.float32)}
    rounds = [
        (quickest_us(lambda: session.run(["y"], feeds)), quickest_us(lambda: runner.run(feeds))) for _ in range(30)
    ]
    bare_us, ours_us = (min(times_us) for times_us in zip(*rounds, strict=True))
    assert ours_us < (3 if sys.gettrace() is None else 15) * bare_us


@pytest.mark.parametrize("name", ["resnet20", "resnet56"])
def test_real_networks(name: str) -> None:
    runner = load((real_data("resnet-cifar10") / f"{name}.onnx").read_bytes())
    assert runner.inputs[0].dims == ("batch", 3, 32, 32)
    images = np.random.default_rng(0).standard_normal((5, 3, 32, 32)).astype(np.float32)
    together = runner.run({"input": images})["logits"]
    assert together.shape == (5, 10)
    for row in range(5):
        alone = runner.run({"input": images[row : row + 1]})["logits"]
        assert np.abs(alone - together[row : row + 1]).max() <= 1e-5 * np.abs(together).max()
