"""Triton and Retort side by side over gRPC: the same messages filled, the same answers, the same codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.triton.http_part import close, compare_documents
from tests.triton.report import Report

TIMEOUT_S = 30.0
# By the name of the bad request: (Triton's code, ours, why).
CODES: Mapping[str, tuple[str, str, str]] = {
    "statistics of an unknown model": ("INVALID_ARGUMENT", "NOT_FOUND", "what is not there is NOT_FOUND throughout"),
    "load of an unknown model": ("INTERNAL", "NOT_FOUND", "what is not there is NOT_FOUND throughout"),
    "raw contents too many": ("OK", "INVALID_ARGUMENT", "bytes that belong to no input are a mistake of the sender's"),
}


def compare_grpc(report: Report, theirs: str, ours: str, rows: Any) -> None:
    """Compares the server at `theirs`, which is Triton, with the one at `ours`; both as host:port."""
    with grpc.insecure_channel(theirs) as first, grpc.insecure_channel(ours) as second:
        stubs = [GRPCInferenceServiceStub(channel) for channel in (first, second)]
        answers = [logits(stub.ModelInfer(digits(rows), timeout=TIMEOUT_S)) for stub in stubs]
        report.holds("gRPC answers of digits", close(*answers), f"{len(rows)} rows")
        for what, method, request in (
            ("server", "ServerMetadata", pb.ServerMetadataRequest()),
            ("metadata", "ModelMetadata", pb.ModelMetadataRequest(name="digits")),
            ("configuration", "ModelConfig", pb.ModelConfigRequest(name="digits")),
            ("statistics", "ModelStatistics", pb.ModelStatisticsRequest(name="digits")),
            ("index", "RepositoryIndex", pb.RepositoryIndexRequest()),
        ):
            told = [as_document(getattr(stub, method)(request, timeout=TIMEOUT_S)) for stub in stubs]
            compare_documents(report, what, f"gRPC {method}", *told)
        for name, method, request in bad_requests():
            codes = [code_of(getattr(stub, method), request) for stub in stubs]
            report.compare(f"gRPC code: {name}", codes[0], codes[1], CODES.get(name))


def as_document(message: Any) -> Any:
    """What a message holds, by its own field names; a part that is not set is left out."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def digits(rows: Any, change: Callable[[Any], object] = lambda request: None) -> Any:
    """A good request but for what `change` does to it."""
    request = pb.ModelInferRequest(model_name="digits")
    request.inputs.add(name="image", datatype="FP32", shape=rows.shape)
    request.raw_input_contents.append(rows.tobytes())
    change(request)
    return request


def bad_requests() -> list[tuple[str, str, Any]]:
    """(name, method, request) of requests that no server should answer well."""
    row = np.zeros((1, 1, 8, 8), np.float32)

    def bad(change: Callable[[Any], object]) -> Any:
        return digits(row, change)

    return [
        ("metadata of an unknown model", "ModelMetadata", pb.ModelMetadataRequest(name="none")),
        ("metadata of an unknown version", "ModelMetadata", pb.ModelMetadataRequest(name="digits", version="9")),
        ("configuration of an unknown model", "ModelConfig", pb.ModelConfigRequest(name="none")),
        ("statistics of an unknown model", "ModelStatistics", pb.ModelStatisticsRequest(name="none")),
        ("inference of an unknown model", "ModelInfer", bad(lambda r: setattr(r, "model_name", "none"))),
        ("inference of an unknown version", "ModelInfer", bad(lambda r: setattr(r, "model_version", "9"))),
        ("no inputs", "ModelInfer", pb.ModelInferRequest(model_name="digits")),
        ("an unknown input", "ModelInfer", bad(lambda r: setattr(r.inputs[0], "name", "picture"))),
        ("another datatype", "ModelInfer", bad(lambda r: setattr(r.inputs[0], "datatype", "INT32"))),
        ("an unknown datatype", "ModelInfer", bad(lambda r: setattr(r.inputs[0], "datatype", "FP99"))),
        ("another shape", "ModelInfer", bad(lambda r: r.inputs[0].shape.__setitem__(3, 7))),
        ("a negative size", "ModelInfer", bad(lambda r: r.inputs[0].shape.__setitem__(0, -1))),
        ("too few bytes", "ModelInfer", bad(lambda r: r.raw_input_contents.__setitem__(0, b"\0" * 255))),
        ("raw contents too many", "ModelInfer", bad(lambda r: r.raw_input_contents.append(b""))),
        ("no contents", "ModelInfer", bad(lambda r: r.raw_input_contents.clear())),
        ("an unknown output", "ModelInfer", bad(lambda r: r.outputs.add(name="none"))),
        ("a reserved parameter", "ModelInfer", bad(lambda r: r.parameters["triton_x"].__setattr__("int64_param", 1))),
        ("load of an unknown model", "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="none")),
    ]


def code_of(method: Any, request: Any) -> str:
    """The name of the code that the call ends with."""
    try:
        method(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return str(error.code().name)  # type: ignore[attr-defined]
    return "OK"


def logits(answer: Any) -> Any:
    """The one output of digits."""
    return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(tuple(answer.outputs[0].shape))
