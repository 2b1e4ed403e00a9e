"""The shapes of bodies, as JSON Schema, for the OpenAPI document. What they say is checked by `codec` and the handlers.

Hand-written: an inference body is decoded without pydantic, so no class could be the source.
"""

from __future__ import annotations

from typing import Any

from service.core.contract import DTYPES

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_INTEGER: Schema = {"type": "integer"}
_BOOLEAN: Schema = {"type": "boolean"}
_ANY_OBJECT: Schema = {"type": "object"}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required), **more}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_DATATYPE: Schema = {"type": "string", "enum": list(DTYPES)}
_SHAPE = _list({"type": "integer", "minimum": 0}, maxItems=32)
_TENSOR_SPEC = _object({"name": _STRING, "datatype": _DATATYPE, "shape": _list({"type": "integer", "minimum": -1})})
_DURATION = _object({"count": _INTEGER, "ns": _INTEGER})
_COMPUTE = {"compute_input": _DURATION, "compute_infer": _DURATION, "compute_output": _DURATION}
_INFERENCE_STATS = {name: _DURATION for name in ("success", "fail", "queue", "cache_hit", "cache_miss")} | _COMPUTE
_BYTES: Schema = {"type": "integer", "minimum": 0}
_IN_REGION = {
    "shared_memory_region": _STRING,
    "shared_memory_offset": _BYTES,
    "shared_memory_byte_size": _BYTES,
}
_STRICT: dict[str, Any] = {"additionalProperties": False}
_OPEN: dict[str, Any] = {"additionalProperties": True}
_TRACE_NAMES = ("trace_rate", "trace_count", "log_frequency", "trace_file", "trace_mode")
_TRACE_TEXTS = dict.fromkeys(_TRACE_NAMES, _STRING)
_TRACE_LEVEL: Schema = {"type": "string", "enum": ["OFF", "TIMESTAMPS"]}
_LOG_SETTINGS = {
    "log_file": _STRING,
    **dict.fromkeys(("log_info", "log_warning", "log_error"), _BOOLEAN),
    "log_verbose_level": {"type": "integer", "minimum": 0},
    "log_format": {"type": "string", "description": "`default` or `ISO8601`"},
}

SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        {"error": _STRING},
        {
            "live": _BOOLEAN,
            "ready": _BOOLEAN,
            "verdict": {"type": "string", "description": "The gate's, where it refuses a version"},
            "reasons": {**_list({}), "description": "Of the verdict"},
            "golden": {"type": "string", "description": "How the answers differ from the golden cases"},
            "signature": {"type": "string", "description": "What differs from the version that answers now"},
        },
    ),
    "Nothing": _object({}),
    "Live": _object({"live": _BOOLEAN}),
    "Ready": _object({"ready": _BOOLEAN}, {"error": _STRING}),
    "ServerMetadata": _object({"name": _STRING, "version": _STRING, "extensions": _list(_STRING)}),
    "ModelMetadata": _object(
        {
            "name": _STRING,
            "versions": _list(_STRING),
            "platform": _STRING,
            "inputs": _list(_TENSOR_SPEC),
            "outputs": _list(_TENSOR_SPEC),
            "batching": _object({"mode": _STRING, "max_batch_size": _INTEGER}, {"reason": _STRING, "padding": _STRING}),
        }
    ),
    "ModelConfig": _object(
        {"name": _STRING, "max_batch_size": _INTEGER, "input": _list(_ANY_OBJECT), "output": _list(_ANY_OBJECT)},
        description="Triton's ModelConfig message as JSON",
        **_OPEN,
    ),
    "ModelStats": _object(
        {
            "model_stats": _list(
                _object(
                    {
                        "name": _STRING,
                        "version": _STRING,
                        "last_inference": _INTEGER,
                        "inference_count": _INTEGER,
                        "execution_count": _INTEGER,
                        "inference_stats": _object(_INFERENCE_STATS),
                        "batch_stats": _list(_object({"batch_size": _INTEGER, **_COMPUTE})),
                        "response_stats": _ANY_OBJECT,
                        "memory_usage": _list(_object({"type": _STRING, "id": _INTEGER, "byte_size": _INTEGER})),
                    }
                )
            )
        }
    ),
    "InputTensor": _object(
        {"name": _STRING, "shape": _SHAPE, "datatype": _DATATYPE},
        {
            "data": {**_list({}), "description": "Row-major, nested or flat; BYTES as strings"},
            "parameters": _nullable(_object({}, {"binary_data_size": _BYTES, **_IN_REGION})),
        },
    ),
    "RequestedOutput": _object(
        {"name": _STRING},
        {
            "parameters": _nullable(
                _object(
                    {},
                    {
                        "binary_data": _BOOLEAN,
                        **_IN_REGION,
                        "classification": {
                            "type": "integer",
                            "minimum": 1,
                            "description": "Answer so many of the highest classes, as texts `value:index:label`",
                        },
                    },
                )
            )
        },
    ),
    "InferRequest": _object(
        {"inputs": _list(_ref("InputTensor"), minItems=1)},
        {
            "id": {"type": ["string", "null"], "maxLength": 1024},
            "outputs": _nullable(_list(_ref("RequestedOutput"))),
            "parameters": _nullable(
                _object(
                    {},
                    {
                        "binary_data_output": _BOOLEAN,
                        "timeout": {"type": "integer", "minimum": 0, "description": "Microseconds; 0 is none"},
                        "priority": {
                            "type": "integer",
                            "minimum": 0,
                            "description": "1 is first; 0 is the model's usual",
                        },
                        "sequence_id": {"type": ["integer", "string"], "description": '0 and "" are none'},
                        "sequence_start": _BOOLEAN,
                        "sequence_end": _BOOLEAN,
                    },
                )
            ),
        },
    ),
    "OutputTensor": _object(
        {"name": _STRING, "shape": _SHAPE, "datatype": _DATATYPE},
        {"data": _list({}), "parameters": _object({}, {"binary_data_size": _INTEGER})},
    ),
    "InferResponse": _object(
        {"model_name": _STRING, "model_version": _STRING, "outputs": _list(_ref("OutputTensor"))}, {"id": _STRING}
    ),
    "PredictRequest": _object(
        {},
        {
            "instances": {**_list({}, minItems=1), "description": "Rows: values, or objects by input name"},
            "inputs": {"description": "Columns: an object by input name, or the one input's value"},
            "labels": {"type": "boolean", "description": "Ask for `labels` and `scores` of the best class of each row"},
            "signature_name": {"description": "Accepted and not read"},
        },
        oneOf=[{"required": ["instances"]}, {"required": ["inputs"]}],
        **_STRICT,
    ),
    "Predictions": _object(
        {},
        {
            "predictions": {**_list({}), "description": "The answer to `instances`"},
            "outputs": {"description": "The answer to `inputs`"},
            "labels": _list(_STRING),
            "scores": _list(_NUMBER),
        },
    ),
    "Models": _object({"models": _list(_object({"name": _STRING, "active_version": _nullable(_STRING)}))}),
    "ModelStatus": _object(
        {
            "model_version_status": _list(
                _object(
                    {
                        "version": _STRING,
                        "state": _STRING,
                        "status": _object({"error_code": _STRING, "error_message": _STRING}),
                    }
                )
            )
        }
    ),
    "IndexOrder": _object({}, {"ready": _BOOLEAN}, **_STRICT),
    "Index": _list(_object({"name": _STRING, "version": _STRING, "state": _STRING, "reason": _STRING})),
    "LoadOrder": _object(
        {},
        {
            "parameters": _nullable(
                _object(
                    {},
                    {"config": _STRING, "unload_dependents": _BOOLEAN},
                    patternProperties={"^file:": {"type": "string", "contentEncoding": "base64"}},
                    **_STRICT,
                )
            )
        },
    ),
    "UnloadOrder": _object({}, {"parameters": _nullable(_object({}, {"unload_dependents": _BOOLEAN}, **_STRICT))}),
    "SwapOrder": _object(
        {"version": {"type": "string", "minLength": 1, "maxLength": 255}},
        {
            "force": _BOOLEAN,
            "watch_s": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 86_400},
            "max_error_rate": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        },
        anyOf=[
            {"properties": {"max_error_rate": {"type": "null"}}},
            {"properties": {"watch_s": {"type": "number"}}, "required": ["watch_s"]},
        ],
        **_STRICT,
    ),
    "RollbackOrder": _object({}, **_STRICT),
    "SwapReport": _object(
        {
            "model": _STRING,
            "from": _nullable(_STRING),
            "to": _STRING,
            "agreement": _nullable(_object({"value": _NUMBER, "n": _INTEGER, "source": _STRING})),
            "golden": _nullable(_object({"n": _INTEGER, "max_abs": _NUMBER})),
            "load_ms": _NUMBER,
            "warm_ms": _NUMBER,
            "drain_ms": _NUMBER,
            "warning": _nullable(_STRING),
        }
    ),
    "Versions": _object(
        {
            "versions": _list(
                _object(
                    {
                        "model": _STRING,
                        "version": _STRING,
                        "state": _STRING,
                        "reason": _STRING,
                        "active": _BOOLEAN,
                        "bytes": _nullable(_INTEGER),
                        "variant_of": _nullable(_STRING),
                        "verdict": _nullable(_STRING),
                        "accuracy": _nullable(_NUMBER),
                        "agreement": _nullable(_NUMBER),
                        "n": _nullable(_INTEGER),
                        "recipe": _nullable(_STRING),
                        "gain_kind": _nullable(_STRING),
                        "quality": _nullable(_list(_ANY_OBJECT)),
                        "latency": _nullable(_list(_ANY_OBJECT)),
                        "unverified_here": _BOOLEAN,
                        "load_s": _nullable(_NUMBER),
                        "warnings": _list(_STRING),
                    }
                )
            )
        }
    ),
    "TraceSetting": _object({**_TRACE_TEXTS, "trace_level": _list(_TRACE_LEVEL)}),
    "TraceOrder": _object(
        {},
        {name: _nullable(schema) for name, schema in _TRACE_TEXTS.items()}
        | {"trace_level": {"type": ["array", "null"], "items": _TRACE_LEVEL}},
        description="Only what is named is changed; null goes back to the global setting, or to the start's",
        **_STRICT,
    ),
    "LogSetting": _object(_LOG_SETTINGS),
    "LogOrder": _object({}, {name: _nullable(schema) for name, schema in _LOG_SETTINGS.items()}, **_STRICT),
    "RegionOrder": _object({"key": _STRING, "byte_size": _BYTES}, {"offset": _BYTES}, **_STRICT),
    "Regions": _list(_object({"name": _STRING, "byte_size": _BYTES}, {"key": _STRING, "offset": _BYTES})),
    "Card": _object({"schema": _STRING, "model": _STRING, "version": _STRING, "files": _ANY_OBJECT}, **_OPEN),
}

CONTENT: dict[str, dict[str, Any]] = {name: {"application/json": {"schema": _ref(name)}} for name in SCHEMAS}
CONTENT["Metrics"] = {"text/plain": {"schema": _STRING}}
for _name in ("InferRequest", "InferResponse"):
    CONTENT[_name]["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}

SECURITY: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Where the server has keys"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same key, as it is"},
}
