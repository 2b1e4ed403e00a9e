"""What an operator may change while requests are served, and every transport shows: what is traced, what is logged."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from service.observe.log_settings import LogSettings
from service.observe.logs import Output
from service.observe.tracing import Tracing, nothing_followed


def _nothing_logged() -> LogSettings:
    return LogSettings(Output(logging.NullHandler(), "json"))


@dataclass(frozen=True, slots=True)
class Controls:
    """The settings of one server; as they come, those of one that follows nothing and whose log obeys nobody.

    Attributes:
        tracing: follows inference requests.
        logs: what is logged.
    """

    tracing: Tracing = field(default_factory=nothing_followed)
    logs: LogSettings = field(default_factory=_nothing_logged)
