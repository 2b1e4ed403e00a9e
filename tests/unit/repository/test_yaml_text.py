"""YAML is read as the text that a person sees, and a hostile document costs nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.repository.yaml_text import Unreadable, read_yaml


@pytest.mark.parametrize(
    "text",
    ["1", "010", "1.10", "1_000", "0x1F", "12:30", "1e3", "no", "yes", "on", "True", "2024-01-01", ".inf", "=", "<<"],
)
def test_a_scalar_is_the_text_it_was_written_in(text: str) -> None:
    assert read_yaml(f"key: {text}".encode()) == {"key": text}


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_a_bare_null_is_none_and_a_quoted_one_is_text(text: str) -> None:
    assert read_yaml(f"key: {text}".encode()) == {"key": None}
    assert read_yaml(f"key: '{text}'".encode()) == {"key": text}


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"---\n", b"\n\n"])
def test_an_empty_document_is_none(data: bytes) -> None:
    assert read_yaml(data) is None


def test_reads_nested_values() -> None:
    data = b"a: [1, {b: two}]\nc:\n  - 'x y'\n  - |\n    block\n"
    assert read_yaml(data) == {"a": ["1", {"b": "two"}], "c": ["x y", "block\n"]}


@pytest.mark.parametrize("data", ["\ufeffa: é", "a: é\r\n", "# note\na: é # note\n", "---\na: é\n...\n"])
def test_marks_comments_and_line_ends_change_nothing(data: str) -> None:
    assert read_yaml(data.encode()) == {"a": "é"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: &x 1\nb: *x", "anchors and aliases are not read, at line 1, column 4"),
        (b"b: *x", "anchors and aliases are not read, at line 1, column 4"),
        (b"a: !!python/object/apply:os.abort []", "tags are not read, at line 1, column 4"),
        (b"a: !!int '1'", "tags are not read"),
        (b"a: 1\na: 2", "the key 'a' is given twice, at line 2, column 1"),
        (b"[a]: 1", "a key must be a plain word"),
        (b"a: [1", "expected ',' or ']'"),
        (b"a: 1\n\tb: 2", "cannot start any token"),
        (b"a: 1\n---\nb: 2", "but found another document"),
        (b"\xff\xfe\xff", "not UTF-8 text"),
        (b"a: \x00", "not UTF-8 text"),
        (b'a: "\\UFFFFFFFF"', "an escape in it stands for no character"),
        (b'a: "\\U00110000"', "an escape in it stands for no character"),
        (b'a: "\\ud800"', "not UTF-8 text"),
        (b"[" * 17 + b"]" * 17, "nested deeper than 16, at line 1, column 17"),
        (b"[" * 600, "nested deeper than 16"),
        (b"{a: " * 30, "nested deeper than 16"),
    ],
)
def test_anything_else_is_refused_in_one_line(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_yaml(data)
    assert said in str(caught.value) and str(caught.value).isprintable()


def test_laughs_are_refused_before_they_multiply() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 64)]
    with pytest.raises(Unreadable, match="anchors"):
        read_yaml("\n".join(lines).encode())


@given(st.binary(max_size=100))
def test_random_bytes_are_read_or_unreadable(data: bytes) -> None:
    try:
        read_yaml(data)
    except Unreadable as error:
        assert str(error).isprintable()


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@#,?\n\t ", max_size=60))
def test_strange_documents_are_read_or_unreadable(text: str) -> None:
    try:
        read_yaml(text.encode())
    except Unreadable as error:
        assert str(error).isprintable()
