from __future__ import annotations

import pytest

from service.gateway.quote import listing, quote


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x", "'x'"),
        ("", "''"),
        ("größe", "'größe'"),
        ("a\nb", "'a\\nb'"),
        ({}, "an object"),
        ([], "a list"),
        (True, "a boolean"),
        (None, "null"),
        (1, "a number"),
        (1.5, "a number"),
    ],
)
def test_text_is_quoted_and_anything_else_is_named_by_its_kind(value: object, shown: str) -> None:
    assert quote(value) == shown


@pytest.mark.parametrize("value", ["x" * 10_000, "\n" * 10_000, "\U0010ffff" * 10_000])
def test_whatever_comes_in_little_goes_out(value: str) -> None:
    assert len(quote(value)) <= 70


def test_a_listing_is_short_too() -> None:
    assert listing(["a", "b"]) == "'a', 'b'"
    assert listing(str(number) for number in range(1000)).endswith("'7' and 992 more")
