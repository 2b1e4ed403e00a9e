"""What a wrong name is answered with: a near name, never more of the wrong one than fits a line."""

import pytest

from service.repository.suggest import did_you_mean, quoted


@pytest.mark.parametrize(
    ("name", "expected"),
    [("digit", "; did you mean 'digits'?"), ("max", "."), ("", "."), ("x" * 10_000, ".")],
)
def test_names_the_nearest(name: str, expected: str) -> None:
    assert did_you_mean(name, ["digits", "sst2"]) == expected


@pytest.mark.parametrize("name", ["a\nINFO forged", "\x1b[31m", "\ud800", "é" * 300, "a" * 300])
def test_quotes_onto_one_short_ascii_line(name: str) -> None:
    text = quoted(name)
    assert text.isascii() and text.isprintable() and len(text) < 64 * 6 + 10
