"""Binary tensors. Source: Triton's binary tensor data extension."""

from __future__ import annotations

from typing import Any

from conformance.check import Check, NotApplicable, require
from conformance.checks.ask import must_answer, must_refuse, plain_answer
from conformance.target import LENGTH, Target
from conformance.tensors import pack

ALL_BINARY = {"binary_data_output": True}


def _out(target: Target) -> str:
    expected = plain_answer(target)
    answer = target.infer(target.document(parameters=ALL_BINARY))
    require(LENGTH.lower() in answer.headers, f"an answer without the header {LENGTH}")
    return must_answer(target, answer, expected)


def _in(target: Target) -> str:
    body, length = target.binary_request()
    return must_answer(target, target.infer_bytes(body, length), plain_answer(target))


def _both(target: Target) -> str:
    body, length = target.binary_request(parameters=ALL_BINARY)
    return must_answer(target, target.infer_bytes(body, length), plain_answer(target))


def _one_output(target: Target) -> str:
    expected = plain_answer(target)
    name = target.output_names[0]
    wanted: Any = [{"name": name, "parameters": {"binary_data": False}}]
    answer = target.infer(target.document(parameters=ALL_BINARY, outputs=wanted))
    require(LENGTH.lower() not in answer.headers, "a binary answer although the output asked for JSON")
    return must_answer(target, answer, {name: expected[name]})


def _declared_size(target: Target) -> str:
    expected = plain_answer(target)
    answer = target.infer(target.document(parameters=ALL_BINARY))
    length = answer.headers.get(LENGTH)
    require(length is not None, f"an answer without the header {LENGTH}")
    require(
        len(answer.content) - int(length or 0) == sum(len(pack(array)) for array in expected.values()), "sizes differ"
    )
    return "the body is the JSON and the bytes of its outputs"


def _short(target: Target) -> str:
    body, length = target.binary_request()
    if len(body) == length:
        raise NotApplicable("the inputs have no bytes")
    return must_refuse(target, target.infer_bytes(body[:-1], length))


def _long(target: Target) -> str:
    body, length = target.binary_request()
    return must_refuse(target, target.infer_bytes(body + b"12345678", length))


def _header_too_long(target: Target) -> str:
    body, _ = target.binary_request()
    return must_refuse(target, target.infer_bytes(body, len(body) + 100))


def _raw(target: Target) -> str:
    inputs = target.metadata.get("inputs") or []
    if len(inputs) != 1 or sum(size < 0 for size in inputs[0]["shape"]) > 1 or inputs[0]["datatype"] == "BYTES":
        raise NotApplicable("a raw request is of one input, whose shape its size must tell")
    (array,) = target.inputs.values()
    return must_answer(target, target.infer_bytes(pack(array), 0), plain_answer(target))


def _check(name: str, sentence: str, run: Any) -> Check:
    source = "Triton, binary tensor data extension"
    return Check(f"binary.{name}", source, "EXTENSION", sentence, run, "binary_tensor_data")


MODEL = (
    _check("out", "`binary_data_output` returns outputs as binary data.", _out),
    _check("in", "Inputs may be binary data.", _in),
    _check("both", "Inputs and outputs may both be.", _both),
    _check("one-output", "`binary_data` on an output overrides the request's wish.", _one_output),
    _check("declared-size", "The answer's bytes are those that it declares.", _declared_size),
    _check("raw", "A JSON length of 0 makes the whole body the one input.", _raw),
    _check("short", "Fewer bytes than declared get a 4xx.", _short),
    _check("long", "Bytes left over get a 4xx.", _long),
    _check("header-too-long", "A JSON length beyond the body gets a 4xx.", _header_too_long),
)
