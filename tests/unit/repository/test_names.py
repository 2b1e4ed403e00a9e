"""Names are one harmless path component; versions come in the order a person expects."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.repository.names import is_name, legal_name, version_order


@pytest.mark.parametrize("name", ["digits", "1", "1-int8", "a.b", "_x", "A" * 128, "1..2"])
def test_takes_plain_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            ".hidden",
            "-x",
            "a/b",
            "a\\b",
            "../x",
            "%2e%2e",
            "a\0b",
            "a\n",
            "é",
            "a b",
            "lost+found",
            "C:",
        ),
        *("A" * 129, "A" * 300),
    ],
)
def test_refuses_all_else(name: str) -> None:
    assert not is_name(name)


@given(st.text())
def test_a_legal_name_is_a_name(text: str) -> None:
    assert is_name(legal_name(text))


@pytest.mark.parametrize(
    ("stem", "expected"),
    [("digits", "digits"), ("my model (1)", "my-model-1-"), ("..", "model"), ("", "model"), ("-v1", "v1")],
)
def test_a_legal_name_keeps_what_it_can(stem: str, expected: str) -> None:
    assert legal_name(stem) == expected


def test_versions_sort_by_number_then_text() -> None:
    expected = ["0", "1", "1-fp16", "1-int8", "2", "10", "10-int8", "beta", "rc1"]
    shuffled = random.Random(0).sample(expected, len(expected))
    assert sorted(shuffled, key=version_order) == expected
