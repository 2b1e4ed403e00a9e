"""Figures read the same in every table."""

import pytest

from service.core.words import share, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 kiB"), (91 << 20, "91.0 MiB"), (5 << 40, "5120.0 GiB")],
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.0, "0.00%"), (0.99167, "99.17%"), (1.0, "100.00%")])
def test_shares(value: float | None, text: str) -> None:
    assert share(value) == text
