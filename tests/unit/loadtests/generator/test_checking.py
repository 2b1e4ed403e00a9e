"""Answers held against what was expected: right, wrong in any way, and of whichever version may answer."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from loadtests.generator.block import RIGHT, UNCHECKED, WRONG, Answer
from loadtests.generator.checking import Checker, decode
from loadtests.pools import Pool, Rows, Signature
from tests.support.scripted import logits

VALUES = np.array([[1.0, 2.0], [4.0, 3.0]], np.float32)


def pool(**changes: object) -> Pool:
    rows = Rows({"in": VALUES}, expected={"out": VALUES})
    signature = Signature({"in": "FP32"}, {"out": "FP32"})
    return replace(Pool(("127.0.0.1", 1), (b"", b""), rows, signature, "out", "1"), **changes)


def body(values: np.ndarray, version: str = "1") -> Answer:
    return Answer(logits(values, version).partition(b"\r\n\r\n")[2], 0)


def output(more: bytes = b"", **changes: object) -> Answer:
    entry = {"name": "out", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]} | changes
    text = json.dumps({"model_version": "1", "outputs": [entry]}).encode()
    return Answer(text + more, len(text))


def test_the_expected_answer_is_right_and_names_its_class() -> None:
    checker = Checker(pool())
    assert [checker.check(body(VALUES[at : at + 1]), at) for at in (0, 1)] == [(RIGHT, 1), (RIGHT, 0)]


def test_a_little_off_is_right_and_more_is_wrong() -> None:
    checker = Checker(pool())
    assert checker.check(body(VALUES[:1] + 0.003), 0) == (RIGHT, 1)
    assert checker.check(body(VALUES[:1] + 0.005), 0) == (WRONG, 1)


@pytest.mark.parametrize(
    "answer",
    [
        body(VALUES[1:]),  # another row's
        body(VALUES[:1], version="2"),
        body(VALUES),  # more rows than asked
        body(VALUES[:1] * np.nan),
        Answer(b"", 0),
        Answer(b"null", 0),
        Answer(b"[]", 0),
        Answer(b"{}", 0),
        Answer(b'{"outputs": [{}]}', 0),
        Answer(b'{"outputs": [{"name": "out", "datatype": "FP99", "shape": [1, 2], "data": [1, 2]}]}', 0),
        Answer(b'{"model_version": "1", "outputs": []}', 0),
        Answer(b"\xff\xfe", 1),
        output(shape=[0], data=[]),
        output(parameters="none"),
        output(parameters=[1]),
        output(datatype="INT64", data=[10**30, 1]),
        output(datatype="BYTES", shape=[1], parameters={"binary_data_size": 2}, more=b"ab"),
        Answer(b'{"outputs": ["out"]}', 0),
        Answer(b"[" * 100_000, 0),
    ],
)
def test_what_was_not_expected_is_wrong(answer: Answer) -> None:
    assert Checker(pool()).check(answer, 0)[0] == WRONG
    assert Checker(pool()).check(output(), 0)[0] == RIGHT


@pytest.mark.parametrize(("datatype", "shape", "raw"), [("BYTES", [1], b"ab"), ("FP32", [0], b""), ("FP99", [1], b"")])
def test_an_odd_message_of_grpc_is_wrong(datatype: str, shape: list[int], raw: bytes) -> None:
    message = service_pb2.ModelInferResponse(model_version="1", raw_output_contents=[raw])
    message.outputs.add(name="out", datatype=datatype, shape=shape)
    assert Checker(pool(protocol="grpc")).check(Answer(message.SerializeToString(), 0), 0) == (WRONG, -1)


def test_without_expectations_only_the_class_is_read() -> None:
    unknown = pool(rows=Rows({"in": VALUES}))
    assert Checker(unknown).check(body(VALUES[:1]), 0) == (UNCHECKED, 1)


def test_while_versions_are_swapped_an_answer_is_held_against_the_one_it_names() -> None:
    own = {"1": {"out": VALUES}, "1-int8": {"out": VALUES + 1}}
    checker = Checker(pool(version="", rows=Rows({"in": VALUES}), answers=own))
    assert checker.check(body(VALUES[:1], "1"), 0)[0] == RIGHT
    assert checker.check(body(VALUES[:1] + 1, "1-int8"), 0)[0] == RIGHT
    assert checker.check(body(VALUES[:1] + 1, "1"), 0)[0] == WRONG  # one version's numbers under the other's name
    assert checker.check(body(VALUES[:1], "3"), 0)[0] == WRONG


def test_in_a_mixture_each_row_has_its_own_version() -> None:
    checker = Checker(pool(version="", versions=("1", "2")))
    assert checker.check(body(VALUES[:1], "1"), 0)[0] == RIGHT
    assert checker.check(body(VALUES[1:], "1"), 1)[0] == WRONG
    assert checker.check(body(VALUES[1:], "2"), 1)[0] == RIGHT


def test_equal_answers_are_read_once() -> None:
    checker = Checker(pool())
    first = checker.check(body(VALUES[:1]), 0)
    checker._read = None  # type: ignore[assignment,method-assign]
    assert checker.check(body(VALUES[:1]), 0) == first


def test_binary_outputs_follow_the_json() -> None:
    head = {"name": "out", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    text = json.dumps({"model_version": "1", "outputs": [head]}).encode()
    version, outputs = decode(Answer(text + VALUES[:1].tobytes(), len(text)))
    assert version == "1" and (outputs["out"] == VALUES[:1]).all()
