"""Where requests name no version, the block says who gave each answer."""

import json

import numpy as np

from loadtests.generator.block import OK, RIGHT, UNCHECKED, WRONG, Answer, Sent
from loadtests.generator.checking import Checker
from loadtests.generator.process import _named
from loadtests.pools import Pool, Rows, Signature

ROWS = Rows({"x": np.zeros((2, 1), np.float32)})
POOL = Pool(("127.0.0.1", 1), (b"", b""), ROWS, Signature({"x": "FP32"}, {"y": "FP32"}), "y", "")


def answer(version):
    outputs = [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.0, 1.0]}]
    return Answer(json.dumps({"model_version": version, "outputs": outputs}).encode(), 0)


def sent(statuses):
    count = len(statuses)
    times = np.arange(count, dtype=float)
    return Sent(
        0.0, times, times, times, np.array(statuses, np.int16), np.zeros(count, np.int32),
        np.full(count, UNCHECKED, np.int8), np.full(count, -1, np.int32),
    )  # fmt: skip


def test_a_checker_tells_who_answered():
    checker = Checker(POOL)
    assert checker.answered_by(answer("1-int8"), 0) == "1-int8"
    assert checker.check(answer("1-int8"), 0) == (UNCHECKED, 1)
    assert checker.answered_by(Answer(b"no JSON", 0), 0) == ""
    assert checker.check(Answer(b"no JSON", 0), 0) == (WRONG, -1)


def test_a_wrong_version_is_named_all_the_same():
    strict = Checker(Pool(*_fields(version="1", expected={"y": np.array([[0.0, 1.0]] * 2, np.float32)})))
    assert strict.check(answer("1"), 0) == (RIGHT, 1)
    assert strict.check(answer("2"), 0) == (WRONG, -1)
    assert strict.answered_by(answer("2"), 0) == "2"


def test_a_block_names_the_version_of_each_answer_and_none_where_there_is_none():
    answers = [answer("1"), answer("1-int8"), None, answer("1"), answer("1")]
    told = _named(sent([OK, OK, 0, 503, OK]), answers, Checker(POOL))
    assert told.versions == ("1", "1-int8")
    assert told.answered.tolist() == [0, 1, -1, -1, 0]


def _fields(*, version, expected):
    rows = Rows(ROWS.inputs, expected=expected)
    return POOL.address, POOL.requests, rows, POOL.signature, POOL.output, version
