from __future__ import annotations

import base64
from typing import Any

import pytest

from service.core.errors import BadInput
from service.gateway.load_order import check_unload_order, read_load_order
from service.repository.overlay import Override


def test_nothing_brings_nothing() -> None:
    assert read_load_order("m", {}) is None
    assert read_load_order("m", {"unload_dependents": True}) is None


def test_files_come_as_bytes_or_as_base64() -> None:
    data = bytes(range(256))
    text = base64.b64encode(data).decode()
    expected = Override("{}", {"1/model.onnx": data})
    assert read_load_order("m", {"config": "{}", "file:1/model.onnx": data}) == expected
    assert read_load_order("m", {"config": "{}", "file:1/model.onnx": text}) == expected
    assert read_load_order("m", {"config": "{}"}) == Override("{}")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"confg": "{}"}, "parameter 'confg' of a load is not known; did you mean 'config'?"),
        ({"config": ""}, "must be Triton's ModelConfig as JSON"),
        ({"config": {"name": "m"}}, "must be Triton's ModelConfig as JSON"),
        ({"config": b"{}"}, "must be Triton's ModelConfig as JSON"),
        ({"unload_dependents": "yes"}, "'unload_dependents' is 'yes', expected true or false"),
        ({"file:1/model.onnx": b""}, "need the parameter 'config' beside them"),
        ({"config": "{}", "file:1/model.onnx": "%%%"}, "'file:1/model.onnx' of a load must be the file's bytes"),
        ({"config": "{}", "file:1/model.onnx": "AAA"}, "base64"),
        ({"config": "{}", "file:1/model.onnx": 7}, "base64"),
        ({"config": "{}", "file:1/model.onnx": "é"}, "base64"),
        ({"config": "{}", "file:../model.onnx": b""}, "is not a plain path"),
        ({"config": "{}", "file:.x/model.onnx": b""}, "is no name of a version"),
        ({"config": "{}", **{f"file:1/{n}": b"" for n in range(1001)}}, "has 1001 files, expected at most 1000"),
    ],
)
def test_what_is_wrong_is_said(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_load_order("m", parameters)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


def test_an_unload_has_one_parameter() -> None:
    check_unload_order({})
    check_unload_order({"unload_dependents": True})
    for wrong in ({"config": "{}"}, {"unload_dependents": 1}):
        with pytest.raises(BadInput):
            check_unload_order(wrong)
