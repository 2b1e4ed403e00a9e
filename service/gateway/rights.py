"""What a key may do, and who holds it. Knows neither files nor transports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.gateway.quota import Quota


class Right(StrEnum):
    """What a route asks of a key.

    OPEN asks for none: probes and the description of the API. INFER is inference and what is to be read of models,
    METRICS the scrape, ADMIN whatever changes what is served, logged or traced, and shared memory.
    """

    OPEN = "open"
    INFER = "infer"
    METRICS = "metrics"
    ADMIN = "admin"


GRANTED = (Right.INFER, Right.METRICS, Right.ADMIN)  # what a key can have


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is.

    Attributes:
        name: for logs and metrics.
        rights: as they were granted.
        quota: how often; None for as often as it likes.
    """

    name: str
    rights: frozenset[Right]
    quota: Quota | None = None

    def may(self, right: Right) -> bool:
        """Whether the holder has `right`; an administrator has every one."""
        return right in self.rights or Right.ADMIN in self.rights
