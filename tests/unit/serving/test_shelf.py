"""What is shown of versions that are not loaded never fails what is done with those that are."""

from __future__ import annotations

from typing import Any, cast

import pytest

from service.core.errors import BadModel, NotFound, RetortError, Unavailable
from service.observe.statistics import VersionStatistics
from service.repository.layout import Source
from service.serving.entry import Slot
from service.serving.shelf import Shelf


class Unreadable:
    """A source whose cards cannot be read."""

    def __init__(self, error: RetortError) -> None:
        self._error = error

    def read_card(self, model: str, version: str) -> None:
        raise self._error


@pytest.mark.parametrize("error", [BadModel("broken"), NotFound("gone"), Unavailable("too many open files")])
def test_a_card_that_cannot_be_read_is_none(error: RetortError) -> None:
    slot = Slot("2", VersionStatistics("digits", "2"))
    Shelf(cast(Source, Unreadable(error)), cast(Any, None), cast(Any, None)).read_cards("digits", [slot])
    assert slot.card is None
