"""Why a request failed, in the words that Triton's failure counter uses: REJECTED, CANCELED, BACKEND, OTHER."""

from __future__ import annotations

import asyncio

from service.core.errors import Abandoned, NotFinite, NotReady, RunFailed, Stuck, Unavailable

BACKEND = "BACKEND"
CANCELED = "CANCELED"
OTHER = "OTHER"
REJECTED = "REJECTED"


def failure_reason(error: BaseException) -> str:
    """The counter's reason for `error`; BACKEND alone speaks against the version.

    A request that is counted has its version already, so that NotReady is what runs it, away.
    """
    if isinstance(error, (RunFailed, NotFinite, Stuck, NotReady)):
        return BACKEND
    if isinstance(error, (Abandoned, asyncio.CancelledError)):
        return CANCELED
    return REJECTED if isinstance(error, Unavailable) else OTHER
