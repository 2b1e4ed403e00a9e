from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from service.core.contract import InferRequest, InferResponse, SequenceStep, TensorSpec
from service.core.errors import BadInput, NotRepresentable, TooLarge
from service.gateway import codec
from service.gateway.codec import Form
from service.gateway.region_tensors import Span, Target
from service.gateway.shared_memory_region import Region
from tests.unit.gateway.fake_catalog import specs

SPECS = specs(TensorSpec("x", "FP32", ("n", 2)), TensorSpec("ids", "INT64", ("n",)), TensorSpec("s", "BYTES", ("n",)))
X = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
BLOB = np.array([[1, 2]], np.float32).tobytes()
JSON_FORM = Form(False, {})


def binary(name: str = "x", size: Any = 8, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}} | more


def decode(document: Any, blobs: bytes | None = None) -> tuple[InferRequest, Form]:
    head = document if isinstance(document, bytes) else orjson.dumps(document)
    return codec.decode(head + (blobs or b""), None if blobs is None else len(head), SPECS)


def refusal(document: Any, blobs: bytes | None = None) -> str:
    with pytest.raises(BadInput) as refused:
        decode(document, blobs)
    assert len(str(refused.value)) < 700
    return str(refused.value)


def test_the_least_request_asks_for_every_output_as_json() -> None:
    request, form = decode({"inputs": [X]})
    np.testing.assert_array_equal(request.inputs["x"], np.array([[1, 2]], np.float32))
    assert (request.outputs, request.id, dict(request.parameters), request.timeout_us) == ((), "", {}, None)
    assert not form.binary("anything")


def test_everything_a_request_may_say_is_read() -> None:
    request, form = decode(
        {
            "id": "é1",
            "model_name": "ignored",
            "parameters": {"timeout": 5000, "priority": 2, "binary_data_output": True, "mine": [1]},
            "inputs": [X],
            "outputs": [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}],
        }
    )
    assert request.id == "é1"
    assert request.timeout_us == 5000
    assert (request.priority, dict(request.parameters)) == (2, {"mine": [1]})
    assert [output.name for output in request.outputs] == ["a", "b"]
    assert (form.binary("a"), form.binary("b")) == (False, True)


@pytest.mark.parametrize(
    ("everything", "own", "wanted"),
    [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
)
def test_an_output_s_own_wish_wins_over_the_request_s(everything: bool, own: bool | None, wanted: bool) -> None:
    parameters = {} if own is None else {"binary_data": own}
    document = {"inputs": [X], "outputs": [{"name": "y", "parameters": parameters}]}
    _, form = decode({**document, "parameters": {"binary_data_output": everything}})
    assert form.binary("y") is wanted


def test_json_and_binary_inputs_mix_in_the_order_of_the_json() -> None:
    ids = np.array([7, 8], np.int64)
    document = {
        "inputs": [
            {"name": "ids", "shape": [2], "datatype": "INT64", "parameters": {"binary_data_size": 16}},
            {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["hi"]},
            binary(),
        ]
    }
    request, _ = decode(document, ids.tobytes() + BLOB)
    assert list(request.inputs) == ["ids", "s", "x"]
    assert request.inputs["ids"].tolist() == [7, 8]
    assert request.inputs["x"].tolist() == [[1, 2]]
    assert request.inputs["s"].tolist() == [b"hi"]


def test_a_header_length_without_blobs_is_plain_json() -> None:
    request, _ = decode({"inputs": [X]}, b"")
    assert request.inputs["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("document", "blobs", "words"),
    [
        (b"", None, "the request is empty, expected a JSON object"),
        (b"{", None, "not valid JSON"),
        (b"[]", None, "the request is a list, expected a JSON object"),
        (b"null", None, "the request is null"),
        ({}, None, "'inputs' of the request must be a list with at least one tensor"),
        ({"inputs": []}, None, "at least one tensor"),
        ({"inputs": {"x": 1}}, None, "at least one tensor"),
        ({"inputs": [1]}, None, "holds a number, expected objects"),
        ({"inputs": [{**X, "name": "z"}]}, None, "the model has no input 'z', only 'x', 'ids', 's'"),
        ({"inputs": [{**X, "name": 5}]}, None, "'name' of an input is a number, expected one of 'x', 'ids', 's'"),
        ({"inputs": [{**X, "name": ["x"]}]}, None, "'name' of an input is a list, expected one of"),
        ({"inputs": [X, X]}, None, "input 'x' is given twice"),
        ({"inputs": [{**X, "datatype": "FP64"}]}, None, "'datatype' of input 'x' is 'FP64', expected 'FP32'"),
        ({"inputs": [{**X, "datatype": "BF16"}]}, None, "is 'BF16', expected 'FP32'"),
        ({"inputs": [{**X, "datatype": None}]}, None, "is null, expected 'FP32'"),
        ({"inputs": [{**X, "shape": "1,2"}]}, None, "'shape' of input 'x' must be a list of at most 32 sizes"),
        ({"inputs": [{**X, "shape": [1] * 33}]}, None, "at most 32 sizes"),
        ({"inputs": [{**X, "shape": [-1, 2]}]}, None, "must hold integers of 0 or more"),
        ({"inputs": [{**X, "shape": [1.0, 2]}]}, None, "must hold integers of 0 or more"),
        ({"inputs": [{**X, "shape": [True, 2]}]}, None, "must hold integers of 0 or more"),
        ({"inputs": [{**X, "shape": [2**40, 2**40]}]}, None, "asks for more than"),
        ({"inputs": [{**X, "shape": [0, 2**62, 2**62], "data": []}]}, None, "asks for more than"),
        ({"inputs": [{**X, "shape": [2**32, 2**32]}]}, None, "asks for more than"),
        ({"inputs": [{**X, "parameters": 5}]}, None, "'parameters' of input 'x' is a number, expected an object"),
        ({"inputs": [{**X, "parameters": {"triton_x": 1}}]}, None, "parameter 'triton_x' of input 'x' is reserved"),
        ({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32"}]}, None, "must have either 'data' or"),
        ({"inputs": [{**X, "parameters": {"binary_data_size": 8}}]}, BLOB, "must have either 'data' or"),
        (
            {"inputs": [binary(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16})]},
            None,
            "lies in shared memory",
        ),
        ({"inputs": [binary()]}, None, "says 8 bytes of binary data, but only 0 follow"),
        ({"inputs": [binary()]}, BLOB[:7], "says 8 bytes of binary data, but only 7 follow"),
        ({"inputs": [binary()]}, BLOB + b".", "1 bytes follow the last input's binary data, expected none"),
        ({"inputs": [X]}, b"..", "2 bytes follow"),
        ({"inputs": [binary(size=4)]}, BLOB[:4], "has 4 bytes of binary data, its shape asks for 8"),
        ({"inputs": [binary(size=-8)]}, BLOB, "must be a number of bytes"),
        ({"inputs": [binary(size=8.0)]}, BLOB, "must be a number of bytes"),
        ({"inputs": [binary(size=True)]}, BLOB, "must be a number of bytes"),
        ({"inputs": [binary(size="8")]}, BLOB, "must be a number of bytes"),
        ({"inputs": [binary(size=2**63)]}, BLOB, "but only 8 follow"),
        ({"inputs": [X], "outputs": "y"}, None, "'outputs' of the request is 'y', expected a list"),
        ({"inputs": [X], "outputs": ["y"]}, None, "each with a 'name' of its own"),
        ({"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]}, None, "of its own; see 'y'"),
        ({"inputs": [X], "outputs": [{"name": 1}]}, None, "each with a 'name' of its own"),
        (
            {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 0}}]},
            None,
            "parameter 'classification' of output 'y' must be a number of classes above 0",
        ),
        (
            {"inputs": [X], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
            None,
            "output 'y' has 'shared_memory_region' without 'shared_memory_byte_size'",
        ),
        (
            {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            None,
            "must be true or false, not a number",
        ),
        ({"inputs": [X], "parameters": {"binary_data_output": "yes"}}, None, "must be true or false, not 'yes'"),
        ({"inputs": [X], "parameters": []}, None, "'parameters' of the request is a list"),
        ({"inputs": [X], "parameters": {"triton_enable_empty_final_response": True}}, None, "is reserved"),
        ({"inputs": [X], "parameters": {"timeout": -1}}, None, "'timeout' of the request must be a number of micro"),
        ({"inputs": [X], "parameters": {"timeout": 1.5}}, None, "must be a number of microseconds"),
        ({"inputs": [X], "parameters": {"timeout": True}}, None, "must be a number of microseconds"),
        ({"inputs": [X], "id": 5}, None, "'id' of the request must be a string"),
        ({"inputs": [X], "id": "i" * 1025}, None, "at most 1024 characters"),
    ],
)
def test_a_wrong_request_is_refused_in_words(document: Any, blobs: bytes | None, words: str) -> None:
    assert words in refusal(document, blobs)


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[NaN,1]}]}',
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[Infinity,1]}]}',
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[-Infinity,1]}]}',
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1e400,1]}]}',
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[' + b"9" * 5000 + b",1]}]}",
        b'{"inputs":[{"name":"ids","shape":[1],"datatype":"INT64","data":[' + b"9" * 30 + b"]}]}",
        b'{"id":"\\ud800","inputs":[]}',
        b'{"id":"\xff","inputs":[]}',
        b'{"id":"\x00","inputs":[]}',
        b'\xef\xbb\xbf{"inputs":[]}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"inputs":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":' + b"[" * 900 + b"]" * 900 + b"}]}",
        b'{"inputs":[{"name":"' + b"x" * 100_000 + b'"}]}',
        b'{"inputs":[{"name":"x","datatype":"' + b"\\u0000" * 10_000 + b'"}]}',
        b'{"inputs":[],' + b'"k":1,' * 10_000 + b'"z":1}',
        b'{"inputs":[]}{"inputs":[]}',
    ],
)
def test_hostile_text_is_refused_in_few_words(text: bytes) -> None:
    refusal(text)


@pytest.mark.parametrize("container", [b"[],", b"{},"])
def test_more_lists_and_objects_than_anyone_needs_are_refused_unparsed(container: bytes) -> None:
    text = b'{"inputs":[' + container * 1_000_001 + b"0]}"
    refused_s = []
    for _ in range(3):
        began_s = time.thread_time()
        with pytest.raises(TooLarge, match="send flat lists, or tensors as binary data"):
            codec.parse_object(text)
        refused_s.append(time.thread_time() - began_s)
    began_s = time.thread_time()
    orjson.loads(text)  # what it would take
    assert min(refused_s) < (time.thread_time() - began_s) / 2


def test_as_many_as_are_allowed_are_parsed_and_the_collector_goes_on() -> None:
    text = b'{"inputs":[' + b"[]," * 999_900 + b"0]}"
    assert len(codec.parse_object(text)["inputs"]) == 999_901
    assert gc.isenabled()
    with pytest.raises(BadInput, match="not valid JSON"):
        codec.parse_object(memoryview(b"[" * 900_000 + b" " * 200_000))
    assert gc.isenabled()


def test_a_wrong_header_length_is_refused() -> None:
    with pytest.raises(BadInput, match="but the body has"):
        codec.decode(orjson.dumps({"inputs": [X]}), 1000, SPECS)


def test_a_header_length_of_0_makes_the_whole_body_the_one_input() -> None:
    request, form = codec.decode(np.float32([1, 2]).tobytes(), 0, {"x": TensorSpec("x", "FP32", ("n", 2))})
    np.testing.assert_array_equal(request.inputs["x"], np.float32([[1, 2]]))
    assert form.binary("whatever")


def test_a_header_length_that_cuts_the_json_is_refused() -> None:
    body = orjson.dumps({"inputs": [X]})
    with pytest.raises(BadInput, match="not valid JSON"):
        codec.decode(body, len(body) - 1, SPECS)


def response(**outputs: Any) -> InferResponse:
    return InferResponse("m", "1-int8", outputs)


def encode(answer: InferResponse, form: Form = JSON_FORM) -> dict[str, Any]:
    encoded = codec.encode(answer, form)
    assert (encoded.content_type, encoded.header_length) == ("application/json", None)
    return orjson.loads(encoded.body)  # type: ignore[no-any-return]


def test_a_json_answer_names_who_answered_and_every_output() -> None:
    answer = response(y=np.array([[0.1, 2]], np.float32), s=np.array([b"a"], np.object_), b=np.array([True]))
    assert encode(answer) == {
        "model_name": "m",
        "model_version": "1-int8",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 2.0]},
            {"name": "s", "datatype": "BYTES", "shape": [1], "data": ["a"]},
            {"name": "b", "datatype": "BOOL", "shape": [1], "data": [True]},
        ],
    }


def test_the_client_s_id_comes_back_and_is_left_out_when_there_is_none() -> None:
    answer = InferResponse("m", "1", {}, "null")
    assert encode(answer)["id"] == "null"
    assert "id" not in encode(response())


def split(encoded: codec.Encoded) -> tuple[Mapping[str, Any], bytes]:
    assert encoded.content_type == "application/octet-stream"
    assert encoded.header_length is not None
    return orjson.loads(encoded.body[: encoded.header_length]), encoded.body[encoded.header_length :]


def test_binary_outputs_follow_the_json_in_order() -> None:
    y, z = np.array([[1, 2]], np.float32), np.array([3], np.int64)
    head, blobs = split(codec.encode(response(y=y, j=np.array([5]), z=z), Form(True, {"j": False})))
    assert [output.get("parameters") for output in head["outputs"]] == [
        {"binary_data_size": 8},
        None,
        {"binary_data_size": 8},
    ]
    assert head["outputs"][1]["data"] == [5]
    assert blobs == y.tobytes() + z.tobytes()


def test_an_empty_binary_output_still_has_its_size() -> None:
    head, blobs = split(codec.encode(response(y=np.zeros((0, 3), np.float32)), Form(True, {})))
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 0}
    assert blobs == b""


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_json_refuses_what_is_not_finite_and_binary_carries_it(value: float) -> None:
    answer = response(y=np.array([value], np.float32))
    with pytest.raises(NotRepresentable, match="output 'y' holds NaN or infinity"):
        codec.encode(answer, JSON_FORM)
    _, blobs = split(codec.encode(answer, Form(True, {})))
    assert blobs == np.array([value], np.float32).tobytes()


def test_a_nan_in_a_binary_output_does_not_refuse_the_json_beside_it() -> None:
    answer = response(y=np.array([np.nan], np.float32), null=np.array([1.0], np.float32))
    head, _ = split(codec.encode(answer, Form(False, {"y": True})))
    assert head["outputs"][1]["data"] == [1.0]


def test_nor_does_one_in_shared_memory(tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(bytes(16))
    answer = response(y=np.array([np.nan], np.float32), null=np.array([1.0], np.float32))
    target = Target(Span("r", 0, 4), Region.open(tmp_path, "r", "object", 0, 16))
    assert encode(answer, Form(False, {}, {"y": target}))["outputs"][1]["data"] == [1.0]
    assert np.isnan(np.frombuffer((tmp_path / "object").read_bytes()[:4], np.float32)[0])


def test_fp16_is_refused_as_json_and_carried_as_binary() -> None:
    answer = response(y=np.array([1.5], np.float16))
    with pytest.raises(NotRepresentable, match="FP16"):
        codec.encode(answer, JSON_FORM)
    head, blobs = split(codec.encode(answer, Form(True, {})))
    assert head["outputs"][0]["datatype"] == "FP16"
    assert blobs == np.array([1.5], np.float16).tobytes()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"sequence_id": -5}, "'sequence_id' of the request must be"),
        ({"sequence_id": "x" * 129}, "'sequence_id' of the request must be"),
        ({"sequence_start": True}, "need a 'sequence_id'"),
        ({"sequence_id": 5, "sequence_start": 1}, "'sequence_start' of the request must be true or false"),
        ({"priority": "high"}, "'priority' of the request must be a whole number"),
        ({"priority": -1}, "'priority' of the request must be a whole number"),
        ({"priority": True}, "'priority' of the request must be a whole number"),
    ],
)
def test_what_would_be_ignored_is_refused(parameters: dict[str, Any], words: str) -> None:
    body = orjson.dumps({"inputs": [X], "parameters": parameters})
    with pytest.raises(BadInput, match=words):
        codec.decode(body, None, SPECS)


def test_parameters_that_ask_for_nothing_are_let_pass() -> None:
    body = orjson.dumps({"inputs": [X], "parameters": {"sequence_id": 0, "priority": 0}})
    request, _ = codec.decode(body, None, SPECS)
    assert (request.priority, request.sequence, request.parameters) == (0, None, {})


def test_the_step_of_a_sequence_is_read() -> None:
    parameters = {"sequence_id": "five", "sequence_start": True, "sequence_end": False, "priority": 2}
    request, _ = codec.decode(orjson.dumps({"inputs": [X], "parameters": parameters}), None, SPECS)
    assert request.sequence == SequenceStep("five", start=True, end=False)
    assert request.priority == 2


def test_a_model_of_constants_alone_is_asked_with_no_inputs() -> None:
    request, _ = codec.decode(b'{"inputs": []}', None, {})
    assert dict(request.inputs) == {}
    assert "at least one tensor" in refusal({"inputs": []})


PARSE = """
import resource, sys
from service.core.confine import data_bytes
from service.gateway.codec import parse_object
text = b'{"a":[' + b"1," * (1 << 20) + b"1]}"
if sys.argv[1] == "refused":
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + (8 << 20),) * 2)
try:
    print(len(parse_object(text)))
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize(("memory", "told"), [("refused", "MemoryError"), ("given", "1")])
def test_a_text_that_there_is_no_memory_for_is_not_called_wrong(memory: str, told: str) -> None:
    done = subprocess.run([sys.executable, "-c", PARSE, memory], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{told}\n"
