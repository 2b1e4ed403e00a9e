"""Every error that Retort raises on purpose, as one tree; `gateway.problems` alone knows what each becomes on the wire.

    RetortError
    |-- BadInput            the request is wrong; sending it again unchanged cannot help
    |   |-- TooLarge        a body, a tensor or a request over its limit
    |   |-- TooSlow         a body that did not come in its time
    |   |-- NotRepresentable  the answer cannot be written in the form that was asked for
    |   `-- NotFinite       the version answers NaN or infinity to this input, and may not
    |-- NotFound            no such model or version, or it is not loaded
    |-- Conflict            another operation on this model is under way, or was superseded
    |   `-- Refused         the gate, or the golden cases, said no
    |-- BadModel            the files of a version cannot be served; says which and why
    |   `-- ProviderMissing what was asked to run it is not to be had here; says what to install
    |-- RunFailed           the runner failed on this request, run alone
    |-- Abandoned           nobody waits for this answer any more
    `-- Unavailable         right request, wrong moment: try again after `retry_after_s`
        |-- Rejected        not let in: queue full, or its deadline cannot be met; or waited longer than it may
        |-- Expired         its deadline passed before its answer was there
        |-- NotReady        the model is loading, failed or stopped
        |-- Draining        the server is shutting down
        |-- DoesNotFit      there is no memory for this version beside the others
        `-- Stuck           a run or a load did not end in time and was given up

A message is one sentence for the person who sent the request: what, where, what was expected. It never holds
a path outside the repository, a class name or a traceback.
"""

from __future__ import annotations


class RetortError(Exception):
    """Root of the tree; never raised itself."""


class BadInput(RetortError):
    """The request is wrong: its message says what, where, and what was expected."""


class TooLarge(BadInput):
    """A body, a tensor or a request is over a limit that the message names."""


class TooSlow(BadInput):
    """A body did not come in its time."""


class NotRepresentable(BadInput):
    """The answer is right but cannot be written as asked, such as NaN in JSON."""


class NotFinite(BadInput):
    """A version that promises finite outputs has none for this input."""


class NotFound(RetortError):
    """No model or version of that name answers here."""


class Conflict(RetortError):
    """The operation cannot run beside another one on the same model."""


class Refused(Conflict):
    """The gate or the golden cases refuse a version; `verdict` says by which rule.

    Args:
        message: one sentence.
        verdict: what decided, as JSON-ready values: the card's verdict and reasons, or the golden mismatch.
    """

    def __init__(self, message: str, verdict: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.verdict = verdict or {}


class BadModel(RetortError):
    """The files of a version cannot be served."""


class ProviderMissing(BadModel):
    """The execution provider that was asked for is not to be had on this machine."""


class RunFailed(RetortError):
    """The runner failed on one request, run alone; its batch-mates are unharmed."""


class Abandoned(RetortError):
    """The client is gone; whatever it asked for need not be computed."""


class Unavailable(RetortError):
    """Nothing is wrong with the request, but it cannot be answered now.

    Args:
        message: one sentence.
        retry_after_s: whole seconds after which trying again makes sense, at least 1.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = max(1, retry_after_s)


class Rejected(Unavailable):
    """The request was not let in, or was not run within its time to wait."""


class Expired(Unavailable):
    """The request's deadline passed before its answer was there."""


class NotReady(Unavailable):
    """The model or version is loading, has failed, or has no active version."""


class Draining(Unavailable):
    """The server is shutting down and takes no new work."""


class DoesNotFit(Unavailable):
    """There is not enough memory to load this version beside the others."""


class Stuck(Unavailable):
    """A run or a load did not end in its time and was given up."""
