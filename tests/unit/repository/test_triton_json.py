"""A configuration in JSON is read as protobuf reads it, and what is wrong is told in words of our own."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from service.core.errors import BadModel
from service.repository.config_files import read_given_config
from service.repository.memory_folder import MemoryFolder
from service.repository.triton_json import read_config_json
from service.repository.triton_text import CONFIG_LIMIT_BYTES

WHERE = "the given config of m"


def told(text: str) -> str:
    with pytest.raises(BadModel) as refused:
        read_config_json(text, WHERE)
    return str(refused.value).removeprefix(WHERE)


WRONG = {
    "{": ", line 1: it is not valid JSON at character 2.",
    '{"name":\n "m"': ", line 2: it is not valid JSON at character 5.",
    "[1]": ": it is a list, expected an object.",
    "[]": ": it is a list, expected an object.",
    '""': ": it is '', expected an object.",
    "null": ": it is null, expected an object.",
    '{"name": "a", "name": "b"}': ": 'name' is given twice.",
    '{"max_batch": 4}': ": ModelConfig has no field 'max_batch'; did you mean 'max_batch_size'?",
    '{"input": [{"nme": "x"}]}': ": input[0]: ModelInput has no field 'nme'; did you mean 'name'?",
    '{"name": 5}': ": name is 5, expected text.",
    '{"max_batch_size": "x"}': ": max_batch_size is 'x', expected a whole number of 32 bits.",
    '{"max_batch_size": 2147483648}': ": max_batch_size is 2147483648, expected a whole number of 32 bits.",
    '{"max_batch_size": 1.5}': ": max_batch_size is 1.5, expected a whole number of 32 bits.",
    '{"max_batch_size": true}': ": max_batch_size is a boolean, expected a whole number of 32 bits.",
    '{"max_batch_size": Infinity}': ": max_batch_size is inf, expected a whole number of 32 bits.",
    '{"input": {"name": "x"}}': ": input is an object, expected a list.",
    '{"input": [null]}': ": input[0] is null, expected an object.",
    '{"input": [{}, {"dims": [1, "a"]}]}': ": input[1].dims[1] is 'a', expected a whole number of 64 bits.",
    '{"input": [{"data_type": "TYPE_FP33"}]}': (
        ": input[0].data_type is 'TYPE_FP33', expected a name of DataType; did you mean 'TYPE_FP32'?"
    ),
    '{"input": [{"data_type": []}]}': ": input[0].data_type is a list, expected a name of DataType.",
    '{"input": [{"optional": 1}]}': ": input[0].optional is 1, expected true or false.",
    '{"parameters": {"a": "b"}}': ": parameters['a'] is 'b', expected an object.",
    '{"parameters": []}': ": parameters is a list, expected an object.",
    '{"dynamic_batching": {"max_queue_delay_microseconds": -1}}': (
        ": dynamic_batching.max_queue_delay_microseconds is -1, expected a whole number of 0 or more, and of 64 bits."
    ),
    '{"model_warmup": [{"inputs": {"x": {"dims": [{}]}}}]}': (
        ": model_warmup[0].inputs['x'].dims[0] is an object, expected a whole number of 64 bits."
    ),
    '{"instance_group": [{"rate_limiter": {"resources": [{"count": []}]}}]}': (
        ": instance_group[0].rate_limiter.resources[0].count is a list, expected a whole number of 0 or more, and of "
        "32 bits."
    ),
    '{"version_policy": {"latest": {}, "all": {}}}': (
        ": version_policy has both 'latest' and 'all', expected one of them."
    ),
    '{"max_batch_size": ' + "9" * 10_000 + "}": ": it holds a number that is too long.",
    "[" * 100_000: ": it is nested too deeply.",
    '{"input": ' * 20_000: ": it is nested too deeply.",
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.items(), ids=range(len(WRONG)))
def test_what_is_wrong_is_told_with_its_place(text: str, sentence: str) -> None:
    assert told(text) == sentence


def test_a_text_that_is_too_large_or_none_is_not_parsed() -> None:
    assert "more than the limit of" in told(" " * (CONFIG_LIMIT_BYTES + 1))
    assert "it is not UTF-8 text" in told("\ud800")


def test_a_name_that_is_given_twice_is_found_in_one_pass() -> None:
    """The server's other threads wait while it is looked for: 240 kB took 7 s when each name was sought in all."""
    fields = ", ".join(f'"{n}": 0' for n in (*range(20_000), 19_999))
    began_s = time.process_time()
    assert told(f"{{{fields}}}") == ": '19999' is given twice."
    assert time.process_time() - began_s < 1


MESSAGE = model_config_pb2.ModelConfig.DESCRIPTOR
NAMES = sorted({field.name for field in MESSAGE.fields} | {"nme", "dims", "count", "kind", "latest", "all", "key"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
@example({"input": [{"dims": [1e30]}]})
@example({"input": [{"dims": ["5", 5.0, " 5", "5.0"]}]})
@example({"max_batch_size": None, "optimization": {"priority": 7}})
@example({"name": "\ud800"})
def test_protobuf_alone_says_what_is_wrong_and_our_own_words_where(value: Any) -> None:
    text = json.dumps(value)
    try:
        if type(value) is not dict:
            raise TypeError("no message, though protobuf takes an empty list or text for one")
        expected = json_format.Parse(text, model_config_pb2.ModelConfig())
    except (json_format.ParseError, ValueError, TypeError, KeyError, AttributeError):
        sentence = told(text)
        assert len(sentence) < 500
        assert sentence.isascii()
        for words in ("Failed", "Error", "object is", "NoneType", "inference.", "literal", "enum"):
            assert words not in sentence
    else:
        assert read_config_json(text, WHERE) == expected


@given(JSON)
def test_whatever_the_json_is_the_worst_is_a_bad_model(value: Any) -> None:
    try:
        read_given_config(json.dumps(value), MemoryFolder({}, "m"), "m")
    except BadModel as error:
        assert len(str(error)) < 700
