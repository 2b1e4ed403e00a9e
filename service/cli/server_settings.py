"""The server's settings for the commands that need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from service.cli.failure import Failure

if TYPE_CHECKING:
    from service.settings import Settings


def read_settings(given: Mapping[str, object]) -> Settings:
    """The server's settings, with what the command line gave; raises Failure with a sentence for each wrong one."""
    from service.settings import Settings, SettingsError  # noqa: PLC0415 - pydantic

    try:
        return Settings.read(given)
    except SettingsError as error:
        raise Failure(str(error)) from None
