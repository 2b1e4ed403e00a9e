"""Which word of Triton's each failure counts under."""

import asyncio

import pytest

from service.core import errors
from service.serving.failures import BACKEND, CANCELED, OTHER, REJECTED, failure_reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.RunFailed("x"), BACKEND),
        (errors.NotFinite("x"), BACKEND),
        (errors.Stuck("x"), BACKEND),
        (errors.Abandoned("x"), CANCELED),
        (asyncio.CancelledError(), CANCELED),
        (errors.Rejected("x"), REJECTED),
        (errors.Expired("x"), REJECTED),
        (errors.NotReady("x"), BACKEND),
        (errors.Draining("x"), REJECTED),
        (errors.BadInput("x"), OTHER),
        (errors.TooLarge("x"), OTHER),
        (ValueError("x"), OTHER),
    ],
)
def test_the_word_for_each_error(error: BaseException, reason: str) -> None:
    assert failure_reason(error) == reason
