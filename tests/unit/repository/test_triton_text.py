from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from service.core.errors import BadModel
from service.repository.config_files import read_config
from service.repository.memory_folder import MemoryFolder
from service.repository.triton_text import CONFIG_LIMIT_BYTES, read_pbtxt
from tests.unit.repository.triton_texts import problem


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'name: "m"\nmax_batch: 4',
            "m/config.pbtxt, line 2: ModelConfig has no field 'max_batch'; did you mean 'max_batch_size'?",
        ),
        (
            "\ninput [ { nam: 1 } ]",
            "m/config.pbtxt, line 2: ModelInput has no field 'nam'; did you mean 'name'?",
        ),
    ],
)
def test_an_unknown_field_is_named_with_its_line(text: str, sentence: str) -> None:
    assert problem(text) == sentence


@pytest.mark.parametrize("text", ["name: 'm'\n\ninput [", "name: 'm'\n\nmax_batch_size: x", "name: 'm'\n\n}"])
def test_a_mistake_is_told_with_its_line(text: str) -> None:
    assert problem(text).startswith("m/config.pbtxt, line 3: ")


def test_quotes_are_told_as_they_stand() -> None:
    assert problem('max_batch_size: "8"') == (
        'm/config.pbtxt, line 1: \'max_batch_size: "8"\': Couldn\'t parse integer: "8".'
    )


def test_a_file_that_is_too_large_or_no_text_is_not_parsed() -> None:
    assert "more than the limit of" in problem("#" * (CONFIG_LIMIT_BYTES + 1))
    with pytest.raises(BadModel, match=r"^w, line 2: it is not UTF-8 text"):
        read_pbtxt(b"a\n\xff", "w")


FIELDS = [field.name for field in model_config_pb2.ModelConfig.DESCRIPTOR.fields]
WORDS = st.sampled_from(
    [
        *FIELDS,
        "{",
        "}",
        "[",
        "]",
        ":",
        '"x"',
        "-1",
        "0",
        "99999999999999999999",
        "KIND_GPU",
        "1e99",
        "nan",
        "true",
        "\n",
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=30).map(lambda words: " ".join(words).encode())))
@example(b"input { reshape " * 2000)
@example(b"[type.googleapis.com/x] { }")
@example(b"input { [x.y]: 1 }")
def test_whatever_the_bytes_are_the_worst_is_a_bad_model(data: bytes) -> None:
    folder = MemoryFolder({"config.pbtxt": data}, "m")
    try:
        read_config(folder, "m")
    except BadModel as error:
        assert str(error).isascii()
        assert len(str(error)) < 700
