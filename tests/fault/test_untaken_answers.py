"""Streams whose clients take no answers (promise H20): what they hold stays within the budget, and others go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from onnx import TensorProto
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.live_watch import LiveWatch
from tests.support.process import ServerProcess
from tests.support.waiting import until
from tests.unit.runtime.graphs import identity

MIB = 1 << 20
BUDGET_MIB, STREAMS, EACH = 40, 16, 48  # requests of 1 MiB, and answers: 768 MiB, were all of them kept
ENDED = ("OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INVALID_ARGUMENT", "INTERNAL")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    version = tmp_path / "repository" / "large" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(identity(TensorProto.FLOAT, ("N", 1024)))
    env = {"RETORT_MAX_IN_FLIGHT_BYTES": str(BUDGET_MIB * MIB)}
    with ServerProcess(["--repository", str(tmp_path / "repository")], tmp_path, env=env) as running:
        yield running


def rows(count: int) -> Any:
    """A request of 4 KiB a row."""
    message = service_pb2.ModelInferRequest(model_name="large", raw_input_contents=[bytes(count * 4096)])
    message.inputs.add(name="x", datatype="FP32", shape=[count, 1024])
    return message


@contextmanager
def stub(server: ServerProcess) -> Iterator[Any]:
    """On a connection of its own."""
    with grpc.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def answered(server: ServerProcess) -> dict[str, int]:
    """Answers over gRPC so far, by code."""
    lines = server.http.get("/metrics").text.splitlines()
    return {code: value_of(lines, f'retort_grpc_calls{{code="{code}"}} ') for code in ENDED}


def value_of(lines: list[str], start: str) -> int:
    return next((int(line.removeprefix(start)) for line in lines if line.startswith(start)), 0)


def test_streams_that_take_no_answer_stay_within_the_budget_and_others_go_on(server: ServerProcess) -> None:
    enough, turn = threading.Event(), threading.Lock()
    with ExitStack() as stack, LiveWatch(server.port) as live:
        good = stack.enter_context(stub(server))
        assert good.ModelInfer(rows(1), timeout=20).outputs
        before_bytes, before = server.resident_bytes(), answered(server)

        def asked(own: Any) -> Iterator[Any]:
            for _ in range(EACH):
                with turn:  # no more at once than the budget has room for while they run
                    yield rows(256)
                    own.ModelInfer(rows(1), timeout=20)
            enough.wait(60)

        stack.callback(enough.set)
        sent = STREAMS * EACH
        for _ in range(STREAMS):
            one = stack.enter_context(stub(server))
            stack.callback(one.ModelStreamInfer(asked(one)).cancel)
        until(lambda: sum(answered(server).values()) - sum(before.values()) >= 2 * sent, "not all are answered", 60)
        after = answered(server)
        assert server.resident_bytes() - before_bytes < 5 * BUDGET_MIB * MIB
        assert after["OK"] + after["UNAVAILABLE"] - before["OK"] - before["UNAVAILABLE"] == 2 * sent
        assert good.ModelInfer(rows(256), timeout=20).outputs
    live.check_prompt()
    with stub(server) as own:
        [one] = own.ModelStreamInfer(iter([rows(256)]), timeout=20)
        assert not one.error_message, "what the streams held did not come back"


@pytest.mark.parametrize("how", ["half closed", "cancelled", "late"])
def test_thousands_of_requests_on_streams_that_end_early_are_each_counted_once(server: ServerProcess, how: str) -> None:
    """Half-closed streams, whose answers nobody reads, cancelled ones, and ones whose deadline has passed."""
    with ExitStack() as stack:
        for _ in range(STREAMS):
            own = stack.enter_context(stub(server))
            call = own.ModelStreamInfer((rows(1) for _ in range(200)), timeout=0.2 if how == "late" else 60)
            if how == "half closed":
                assert next(call).infer_response.outputs  # and no other is read
            elif how == "cancelled":
                call.cancel()
            else:
                with pytest.raises(grpc.RpcError) as error:
                    for _one in call:
                        threading.Event().wait(0.01)
                assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: pending(server) == 0, "requests are left")
    counts = answered(server)
    assert counts["INTERNAL"] == 0
    model = server.http.get("/v2/models/large/stats").json()["model_stats"][0]["inference_stats"]
    assert model["success"]["count"] == counts["OK"]
    assert model["fail"]["count"] <= sum(counts.values()) - counts["OK"]  # some end before they reach it
    assert "Traceback" not in server.log()


def pending(server: ServerProcess) -> int:
    lines = server.http.get("/metrics").text.splitlines()
    return value_of(lines, 'nv_inference_pending_request_count{model="large",version="1"} ')
