"""What requests end with that are not run: one sentence each, the same wherever it happens."""

from __future__ import annotations

from service.core.errors import Draining, Expired, NotReady, Rejected


def expired() -> Expired:
    """The deadline passed."""
    return Expired("the deadline passed before the answer was there")


def outwaited() -> Rejected:
    """The time to wait for a run passed; as in Triton, not the same as a deadline that passed."""
    return Rejected("the timeout passed while the request still waited to be run")


def draining() -> Draining:
    """The batcher is closing."""
    return Draining("the model is shutting down and takes no new requests")


def recovering() -> NotReady:
    """The batcher failed and starts again."""
    return NotReady("the model is recovering from a failure")
