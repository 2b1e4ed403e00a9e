"""The gRPC side of the reference server, with defects that can be switched on one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.unit.conformance.reference import METADATA


class Wrong(Exception):
    """A request that is refused; `code` says how."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code.name.lower())
        self.code = code


class ReferenceService(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Doubles `x` into `y` and triples it into `z`; `defect` is what it does wrong, "" for nothing."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect

    def ServerLive(self, _request: Any, _context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=self.defect != "not live")

    def ServerReady(self, _request: Any, _context: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=self.defect != "not ready")

    def ServerMetadata(self, _request: Any, _context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(
            name="other" if self.defect == "another name" else "reference", version="1"
        )

    def ModelReady(self, _request: Any, _context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=self.defect != "model not ready")

    def ModelMetadata(self, _request: Any, _context: Any) -> Any:
        shape = [2] if self.defect == "another shape" else METADATA["inputs"][0]["shape"]  # type: ignore[index]
        return service_pb2.ModelMetadataResponse(
            name="double", inputs=[{"name": "x", "datatype": "FP32", "shape": shape}]
        )

    def ModelInfer(self, request: Any, context: Any) -> Any:
        try:
            return self.answer(request)
        except Wrong as wrong:
            context.abort(wrong.code, str(wrong))

    def ModelStreamInfer(self, requests: Any, _context: Any) -> Any:
        for request in requests:
            try:
                yield service_pb2.ModelStreamInferResponse(infer_response=self.answer(request))
            except Wrong as wrong:
                if self.defect == "a stream ends at a bad request":
                    return
                yield service_pb2.ModelStreamInferResponse(error_message=str(wrong))

    def answer(self, request: Any) -> Any:
        if request.model_name != "double":
            internal = self.defect == "unknown models are internal"
            raise Wrong(grpc.StatusCode.INTERNAL if internal else grpc.StatusCode.NOT_FOUND)
        if [entry.name for entry in request.inputs] != ["x"]:
            internal = self.defect == "bad input is internal"
            raise Wrong(grpc.StatusCode.INTERNAL if internal else grpc.StatusCode.INVALID_ARGUMENT)
        raw = request.raw_input_contents
        values = np.frombuffer(raw[0], "<f4") if raw else np.float32(request.inputs[0].contents.fp32_contents)
        if self.defect == "typed contents are ignored" and not raw:
            values = np.zeros(2, "<f4")
        shape = list(request.inputs[0].shape)
        factor = 5 if self.defect == "other values" else 2
        answer = service_pb2.ModelInferResponse(
            model_name="double", id="" if self.defect == "id not echoed" else request.id
        )
        for name, array in (("y", values * factor), ("z", values * 3)):
            output = answer.outputs.add(name=name, datatype="FP32", shape=shape)
            if self.defect == "typed answers":  # which the protocol allows
                output.contents.fp32_contents.extend(array.tolist())
            else:
                answer.raw_output_contents.append(array.astype("<f4").tobytes())
        return answer


class Health(health_pb2_grpc.HealthServicer):
    def __init__(self, defect: str) -> None:
        self.defect = defect

    def Check(self, _request: Any, _context: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=2 if self.defect == "not serving" else 1)


@contextmanager
def reference_rpc(defect: str = "") -> Iterator[str]:
    """Serves; yields host and port."""
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(ReferenceService(defect), server)
    health_pb2_grpc.add_HealthServicer_to_server(Health(defect), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
