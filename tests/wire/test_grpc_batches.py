"""Calls over gRPC that are in flight together are run together."""

from __future__ import annotations

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.process import ServerProcess
from tests.wire.digits import INPUT, ROWS

CALLS = 400
TRIES = 3  # a client that its machine holds up sends one call after the other


def test_many_calls_at_once_take_far_fewer_runs(server: ServerProcess) -> None:
    request = service_pb2.ModelInferRequest(model_name="digits", model_version="1")
    request.inputs.add(name=INPUT, datatype="FP32", shape=[1, *ROWS.shape[1:]])
    request.raw_input_contents.append(ROWS[:1].tobytes())
    which = service_pb2.ModelStatisticsRequest(name="digits", version="1")
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def runs() -> int:
            before = stub.ModelStatistics(which).model_stats[0]
            for call in [stub.ModelInfer.future(request) for _ in range(CALLS)]:
                assert call.result().outputs
            after = stub.ModelStatistics(which).model_stats[0]
            assert after.inference_count - before.inference_count == CALLS
            return after.execution_count - before.execution_count

        assert any(runs() <= CALLS / 2 for _ in range(TRIES))
