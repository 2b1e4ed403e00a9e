"""A remote runner against a real server: what it answers, and what each fault of the other side becomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto
from tritonclient.grpc import service_pb2 as pb

from service.core.errors import BadInput, BadModel, NotReady, Rejected, RetortError, RunFailed, Stuck, Unavailable
from service.runtime.triton import TritonRunner
from service.runtime.triton_link import OPTIONS, Link
from service.runtime.triton_model import Address, describe
from tests.support.remote import Remote
from tests.support.tap import Tap
from tests.support.waiting import PATIENCE_S
from tests.unit.runtime import graphs

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)
CODE = grpc.StatusCode


@pytest.fixture
def remote() -> Iterator[Remote]:
    with Remote(graphs.identity()) as running:
        yield running


def address(remote: Remote, timeout_s: float = PATIENCE_S, model: str = "m") -> Address:
    return Address(remote.url, model, "", timeout_s)


def opened(remote: Remote, timeout_s: float = PATIENCE_S) -> tuple[TritonRunner, list[str]]:
    retries: list[str] = []
    return TritonRunner(describe(address(remote, timeout_s)), lambda: retries.append("again")), retries


def in_thread(runner: TritonRunner) -> tuple[threading.Thread, list[RetortError]]:
    """Runs `ROWS` on a thread of its own; the list gets the error."""
    ended: list[RetortError] = []

    def body() -> None:
        try:
            runner.run({"x": ROWS})
        except RetortError as error:
            ended.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread, ended


def test_it_answers_as_the_remote_does(remote: Remote) -> None:
    runner, retries = opened(remote)
    assert np.array_equal(runner.run({"x": ROWS})["y"], ROWS)
    assert np.array_equal(runner.run({"x": ROWS.T.copy().T})["y"], ROWS), "any memory layout"
    assert (runner.provider, runner.omitted_outputs, retries) == ("remote", (), [])
    runner.close()


@pytest.mark.parametrize("elem_type", [TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BOOL, TensorProto.INT64])
def test_datatypes_come_back_as_they_went(elem_type: int) -> None:
    with Remote(graphs.identity(elem_type)) as remote:
        runner, _ = opened(remote)
        x = np.array([[0, 1, 1, 0]]).astype(runner.inputs[0].dtype)
        y = runner.run({"x": x})["y"]
        runner.close()
    assert y.dtype == x.dtype
    assert np.array_equal(x, y)


def test_texts_come_back_as_they_went() -> None:
    with Remote(graphs.identity(TensorProto.STRING)) as remote:
        runner, _ = opened(remote)
        x = np.array([[b"", "é".encode(), b"a" * 70_000, b"0"]], dtype=object)
        y = runner.run({"x": x})["y"]
        runner.close()
    assert np.array_equal(x, y)


def test_messages_may_be_larger_than_grpc_lets_them_by_default(remote: Remote) -> None:
    runner, _ = opened(remote)
    rows = np.ones((500_000, 4), np.float32)  # 8 MB; the default limit is 4
    assert np.array_equal(runner.run({"x": rows})["y"], rows)
    runner.close()


@pytest.mark.parametrize(
    ("max_batch_size", "dims", "most"),
    [(8, ("batch", 4), 8), (0, (None, 4), None), (None, ("batch", 4), None)],
    ids=["batched", "not batched", "no configuration to ask for"],
)
def test_the_batch_axis_is_what_the_remote_says(max_batch_size: int | None, dims: Any, most: int | None) -> None:
    with Remote(graphs.identity(), max_batch_size=max_batch_size) as remote:
        model = describe(address(remote))
    assert [spec.dims for spec in (*model.inputs, *model.outputs)] == [dims, dims]
    assert model.max_rows == most


def test_variable_axes_beside_the_batch_are_told_apart() -> None:
    with Remote(graphs.identity(shape=("N", "N"))) as remote:
        assert describe(address(remote)).inputs[0].dims == ("batch", None)


def test_a_first_axis_that_is_fixed_anywhere_is_no_batch(remote: Remote) -> None:
    remote.tweak = lambda metadata: metadata.outputs[0].shape.__setitem__(0, 1)
    assert describe(address(remote)).inputs[0].dims == (None, 4)


@pytest.mark.parametrize(
    ("tweak", "says"),
    [
        (lambda metadata: setattr(metadata.inputs[0], "datatype", "BF16"), "input 'x' of the remote model is BF16"),
        (lambda metadata: setattr(metadata.outputs[0], "datatype", "X" * 999), "output 'y' of the remote model is XXX"),
        (lambda metadata: metadata.outputs.clear(), "has no outputs"),
        (lambda metadata: metadata.inputs[0].shape.extend([1] * 40), "more tensors or axes"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(remote: Remote, tweak: Callable[[Any], None], says: str) -> None:
    remote.tweak = tweak
    with pytest.raises(BadModel, match=says) as refusal:
        describe(address(remote))
    assert len(str(refusal.value)) < 200


def test_two_models_differ_by_where_and_what_they_are(remote: Remote) -> None:
    first, again = describe(address(remote)), describe(address(remote))
    remote.tweak = lambda metadata: metadata.inputs[0].shape.__setitem__(1, 5)
    assert first.digest == again.digest
    assert len({first.digest, describe(address(remote)).digest, describe(address(remote, 9.0)).digest}) == 3


def test_an_unknown_model_and_a_remote_that_is_away_may_come_yet(remote: Remote) -> None:
    with pytest.raises(NotReady, match="no such model"):
        describe(address(remote, model="other"))
    remote.stop()
    with pytest.raises(NotReady, match="not reachable"):
        describe(address(remote))


def test_describing_is_given_up_when_it_is_cancelled(remote: Remote) -> None:
    waiting, cancel = threading.Event(), threading.Event()

    def hold(_metadata: Any) -> None:
        waiting.set()
        remote.release.wait(60)

    remote.tweak = hold
    watcher = threading.Thread(target=lambda: (waiting.wait(10), cancel.set()))
    watcher.start()
    with pytest.raises(Stuck, match="stopped"):
        describe(address(remote), cancel)
    watcher.join()


def test_where_there_is_no_thread_to_give_up_by_the_load_may_be_tried_again(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "remote-cancel":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(Unavailable, match="no more threads now"):
        describe(address(remote), threading.Event())


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (CODE.UNAVAILABLE, NotReady, "not reachable or not ready"),
        (CODE.DEADLINE_EXCEEDED, Stuck, "did not answer within 20 s"),
        (CODE.INVALID_ARGUMENT, BadInput, "refuses the input: no ... here"),
        (CODE.NOT_FOUND, NotReady, "no such model"),
        (CODE.RESOURCE_EXHAUSTED, Rejected, "no room"),
        (CODE.CANCELLED, NotReady, "gave the request up"),
        (CODE.UNIMPLEMENTED, RunFailed, "does not speak"),
        (CODE.UNAUTHENTICATED, RunFailed, "does not let this server in"),
        (CODE.PERMISSION_DENIED, RunFailed, "does not let"),
        (CODE.INTERNAL, RunFailed, "failed on this request"),
        (CODE.UNKNOWN, RunFailed, "failed on this request"),
    ],
)
def test_each_status_of_the_remote_is_an_error_of_its_own_and_tells_nothing(
    remote: Remote, code: Any, kind: type[RetortError], says: str
) -> None:
    runner, retries = opened(remote)
    remote.fails(code, "[request id: 7] no /srv/models/secret/model.py\nhere " + "x" * 5000)
    with pytest.raises(RetortError) as raised:
        runner.run({"x": ROWS})
    runner.close()
    assert type(raised.value) is kind
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)
    assert len(str(raised.value)) < 400
    assert len(retries) == (code is CODE.UNAVAILABLE), "only where asking again may help"


def test_a_remote_that_is_gone_is_asked_twice_and_found_again_when_it_is_back(remote: Remote) -> None:
    runner, retries = opened(remote, timeout_s=60)
    remote.stop()
    began_s = time.monotonic()
    for _ in range(3):
        with pytest.raises(NotReady, match="not reachable"):
            runner.run({"x": ROWS})
    assert time.monotonic() - began_s < 30, "their time was not waited for"
    assert len(retries) == 3
    remote.start()
    assert np.array_equal(runner.run({"x": ROWS})["y"], ROWS), "at the very next call"
    runner.close()


def test_a_connection_that_breaks_under_a_call_costs_nobody_an_answer(remote: Remote) -> None:
    with Tap(remote.port) as tap:
        retries: list[str] = []
        model = describe(Address(tap.url, "m", "", 10.0))
        runner = TritonRunner(model, lambda: retries.append("again"))
        remote.hangs()
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(runner.run({"x": ROWS})["y"]))
        thread.start()
        assert remote.held.wait(PATIENCE_S)
        remote.act = None
        tap.cut()
        thread.join(PATIENCE_S)
        runner.close()
    assert np.array_equal(answers[0], ROWS)
    assert retries == ["again"]


def test_a_remote_that_hangs_is_left_after_its_time_and_never_asked_twice(remote: Remote) -> None:
    runner, retries = opened(remote)
    patient = runner._model
    runner._model = replace(patient, address=address(remote, timeout_s=0.3))
    remote.hangs()
    with pytest.raises(Stuck, match=r"within 0\.3 s"):
        runner.run({"x": ROWS})
    assert retries == []
    remote.release.set()
    remote.act = None
    runner._model = patient
    assert np.array_equal(runner.run({"x": ROWS})["y"], ROWS)
    runner.close()


def test_stop_ends_a_call_at_once_on_both_sides_and_no_other(remote: Remote) -> None:
    runner, retries = opened(remote)
    runner.stop()  # nothing runs: hits nobody
    remote.hangs()
    thread, ended = in_thread(runner)
    assert remote.held.wait(PATIENCE_S)
    runner.stop()
    thread.join(PATIENCE_S)
    assert isinstance(ended[0], Stuck)
    assert remote.cancelled.wait(PATIENCE_S), "the remote hears of it"
    remote.release.set()
    remote.act = None
    assert np.array_equal(runner.run({"x": ROWS})["y"], ROWS)
    assert retries == []
    runner.close()


def test_close_ends_what_runs_and_nothing_runs_after_it(remote: Remote) -> None:
    runner, _ = opened(remote)
    remote.hangs()
    thread, ended = in_thread(runner)
    assert remote.held.wait(PATIENCE_S)
    runner.close()
    thread.join(PATIENCE_S)
    assert isinstance(ended[0], Stuck)
    with pytest.raises(RunFailed, match="closed"):
        runner.run({"x": ROWS})


@pytest.mark.parametrize("keepalive", [True, False], ids=["with pings", "without: the control"])
def test_a_peer_that_died_silently_is_noticed_before_the_call_s_time_is_over(remote: Remote, keepalive: bool) -> None:
    pings = [name for name in OPTIONS if "keepalive" in name or "ping" in name]
    quick = dict.fromkeys(pings, 100) if keepalive else {}
    base = {name: value for name, value in OPTIONS.items() if name not in pings}
    retries: list[str] = []
    ask = pb.ModelMetadataRequest(name="m")
    with Tap(remote.port) as tap:

        def noticed() -> None:
            if tap.silent.is_set():  # before that, a ping that was answered late is tried again
                retries.append("again")
                link.stop()  # the second try would meet the same silence

        link = Link(tap.url, noticed, {**base, **quick})
        assert link.call("ModelMetadata", ask, PATIENCE_S).name == "m"
        tap.silent.set()
        with pytest.raises((Stuck, NotReady)):
            link.call("ModelMetadata", ask, PATIENCE_S if keepalive else 1.8)  # pings are a second apart at least
        link.close()
    assert bool(retries) is keepalive
