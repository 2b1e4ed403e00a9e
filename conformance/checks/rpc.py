"""The gRPC counterparts, by the protocol's own stubs. Source: Open Inference Protocol v2, gRPC.

Runs where an address was given. grpc is imported by the first check, for who asks over HTTP only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from conformance.check import Check, Failed, NotApplicable, require
from conformance.checks.ask import plain_answer
from conformance.target import Target
from conformance.tensors import agree, of_json, pack, unpack

TIMEOUT_S = 30.0
SOURCE = "Open Inference Protocol v2, gRPC"
STREAM_SOURCE = "Triton's grpc_service.proto, ModelStreamInfer"
ID = "conformance-42"
FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@contextmanager
def _channel(target: Target) -> Iterator[Any]:
    if target.grpc_url is None:
        raise NotApplicable("no --grpc-url was given")
    import grpc  # noqa: PLC0415

    if target.http.base_url.scheme == "https":
        secure = grpc.ssl_channel_credentials(root_certificates=target.authorities)
        opened = grpc.secure_channel(target.grpc_url, secure)
    else:
        opened = grpc.insecure_channel(target.grpc_url)
    with opened as channel:
        yield channel


def _call(target: Target, method: str, **fields: Any) -> Any:
    """Calls one method of the service; raises grpc.RpcError."""
    with _channel(target) as channel:
        from tritonclient.grpc import service_pb2, service_pb2_grpc  # noqa: PLC0415

        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = getattr(service_pb2, f"{method}Request")(**fields)
        return getattr(stub, method)(request, metadata=target.credentials, timeout=TIMEOUT_S)


def _code(target: Target, method: str, **fields: Any) -> str:
    """The code that a call which must fail ends with."""
    if target.grpc_url is None:
        raise NotApplicable("no --grpc-url was given")
    import grpc  # noqa: PLC0415

    try:
        _call(target, method, **fields)
    except grpc.RpcError as error:
        return str(error.code().name)
    raise Failed("it succeeded, expected an error")


def _live(target: Target) -> str:
    require(_call(target, "ServerLive").live, "not live")
    return "live"


def _ready(target: Target) -> str:
    require(_call(target, "ServerReady").ready, "not ready")
    return "ready"


def _server(target: Target) -> str:
    found = _call(target, "ServerMetadata")
    http = target.json_of(target.get("/v2"))
    same = (found.name, found.version) == (http["name"], http["version"])
    require(same, f"{found.name} {found.version}, over HTTP {http['name']} {http['version']}")
    return f"{found.name} {found.version}"


def _model_ready(target: Target) -> str:
    require(_call(target, "ModelReady", name=target.model).ready, "not ready")
    return "ready"


def _metadata(target: Target) -> str:
    found = _call(target, "ModelMetadata", name=target.model)
    tensors = [(entry.name, entry.datatype, list(entry.shape)) for entry in found.inputs]
    http = [(entry["name"], entry["datatype"], entry["shape"]) for entry in target.metadata["inputs"]]
    require(tensors == http, f"inputs {tensors}, over HTTP {http}")
    return f"{len(tensors)} inputs"


def _infer(target: Target) -> str:
    answer = _call(target, "ModelInfer", id=ID, **_request(target))
    require(answer.id == ID, f"'id' is {answer.id!r}")
    return _agrees(target, answer)


def _typed(target: Target) -> str:
    inputs = target.inputs
    entries = []
    for name, array in inputs.items():
        entry = target.entry(name, array)
        field = FIELDS.get(entry["datatype"])
        if field is None:
            raise NotApplicable(f"{entry['datatype']} has no typed contents")
        entries.append(entry | {"contents": {field: array.ravel().tolist()}})
    return _agrees(target, _call(target, "ModelInfer", model_name=target.model, inputs=entries))


def _stream(target: Target) -> str:
    with _channel(target) as channel:
        from tritonclient.grpc import service_pb2, service_pb2_grpc  # noqa: PLC0415

        good = _request(target)
        asked = [service_pb2.ModelInferRequest(id=str(number), **good) for number in range(3)]
        asked.insert(1, service_pb2.ModelInferRequest(model_name="no-such-model-here", id="bad"))
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answers = list(stub.ModelStreamInfer(iter(asked), metadata=target.credentials, timeout=TIMEOUT_S))
    failed = [answer for answer in answers if answer.error_message]
    require(len(failed) == 1, f"{len(failed)} error messages for one bad request")
    ids = sorted(answer.infer_response.id for answer in answers if not answer.error_message)
    require(ids == ["0", "1", "2"], f"answers with the ids {ids}, expected those of the three good requests")
    return "three answers and one error message"


def _request(target: Target) -> dict[str, Any]:
    inputs = target.inputs
    entries = [target.entry(name, array) for name, array in inputs.items()]
    raw = [pack(array) for array in inputs.values()]
    return {"model_name": target.model, "inputs": entries, "raw_input_contents": raw}


def _agrees(target: Target, answer: Any) -> str:
    """Requires the outputs of the same request over HTTP, raw or typed."""
    found = {}
    for number, entry in enumerate(answer.outputs):
        if answer.raw_output_contents:
            blob = answer.raw_output_contents[number]
        else:
            blob = pack(of_json(list(getattr(entry.contents, FIELDS[entry.datatype])), entry.datatype, entry.shape))
        found[entry.name] = unpack(blob, entry.datatype, list(entry.shape))
    expected = plain_answer(target)
    bad = [name for name in expected if name not in found or not agree(found[name], expected[name])]
    require(not bad, f"outputs {bad} differ from those over HTTP")
    return f"{len(found)} outputs agree with HTTP"


def _unknown(target: Target) -> str:
    code = _code(target, "ModelInfer", model_name="no-such-model-here")
    require(code in ("NOT_FOUND", "INVALID_ARGUMENT", "UNAVAILABLE"), f"code {code}")
    return code


def _bad(target: Target) -> str:
    code = _code(target, "ModelInfer", model_name=target.model, inputs=[{"name": "no-such-input", "datatype": "FP32"}])
    require(code == "INVALID_ARGUMENT", f"code {code}, expected INVALID_ARGUMENT")
    return code


def _health(target: Target) -> str:
    with _channel(target) as channel:
        from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    require(answer.status == 1, f"status {answer.status}, expected SERVING")
    return "SERVING"


def _check(name: str, level: Any, sentence: str, run: Callable[[Target], str]) -> Check:
    return Check(f"grpc.{name}", SOURCE, level, sentence, run)


SERVER = (
    _check("live", "MUST", "ServerLive says live.", _live),
    _check("ready", "MUST", "ServerReady says ready.", _ready),
    _check("server", "MUST", "ServerMetadata says what HTTP says.", _server),
    _check("health", "SHOULD", "grpc.health.v1 says SERVING.", _health),
)
MODEL = (
    _check("model-ready", "MUST", "ModelReady says ready.", _model_ready),
    _check("metadata", "MUST", "ModelMetadata says what HTTP says.", _metadata),
    _check("infer", "MUST", "ModelInfer answers what HTTP answers, and echoes the id.", _infer),
    _check("typed", "MUST", "Typed contents are answered as raw ones.", _typed),
    Check(
        "grpc.stream",
        STREAM_SOURCE,
        "SHOULD",
        "A stream answers each request, and outlives a bad one.",
        _stream,
    ),
    _check("unknown-model", "MUST", "A model that is not there is an error.", _unknown),
    _check("bad-request", "MUST", "A wrong input is INVALID_ARGUMENT.", _bad),
)
