"""One check: a sentence of the protocol, and a function that holds a server against it.

A check returns what it saw; it raises `Failed` where the sentence does not hold, and `NotApplicable` where it says
nothing about this server or model. Knows nothing of transports or reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from conformance.target import Target

Level = Literal["MUST", "SHOULD", "EXTENSION"]
Profile = Literal["strict", "relaxed"]
Status = Literal["passed", "failed", "skipped"]
# The checks that ask a model by itself, which one that keeps state rightly refuses.
_ASKING = (
    *("infer.", "binary.", "errors", "robustness.", "grpc.infer", "grpc.typed", "grpc.stream"),
    *("extension.statistics", "extension.classification", "extension.schedule"),
)


class Failed(Exception):
    """The sentence does not hold.

    Args:
        seen: what was seen, and what was expected.
        dialect: whose known way this is, "" where it is nobody's; the relaxed profile lets it pass with a note.
    """

    def __init__(self, seen: str, dialect: str = "") -> None:
        super().__init__(seen)
        self.dialect = dialect


class NotApplicable(Exception):
    """The sentence says nothing about this server or model; the message says why."""


@dataclass(frozen=True, slots=True)
class Check:
    """A sentence and its test.

    Attributes:
        id: stable, such as `infer.id-echoed`.
        source: document and section that the sentence stands in.
        level: MUST and SHOULD bind every server; EXTENSION those that list `extension`.
        sentence: what must hold.
        run: holds a target against it.
        extension: the name in the server's `extensions`, "" for the protocol itself.
    """

    id: str
    source: str
    level: Level
    sentence: str
    run: Callable[[Target], str]
    extension: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found on one model; `model` is "" for a check of the server."""

    check: Check
    model: str
    status: Status
    seen: str


def require(holds: bool, seen: str, dialect: str = "") -> None:
    """Raises `Failed` with `seen` unless it holds."""
    if not holds:
        raise Failed(seen, dialect)


def carry_out(check: Check, target: Target, profile: Profile) -> Result:
    """Runs one check; whatever goes wrong inside it is a failure that says so, never an end of the suite."""
    if check.extension and check.extension not in target.extensions:
        return Result(check, target.model, "skipped", f"the server does not list the extension {check.extension}")
    if target.stateful and check.id.startswith(_ASKING):
        return Result(check, target.model, "skipped", "a stateful model answers requests of a sequence alone")
    try:
        return Result(check, target.model, "passed", check.run(target))
    except NotApplicable as reason:
        return Result(check, target.model, "skipped", str(reason))
    except Failed as failure:
        return _judged(check, target, profile, failure)
    except Exception as error:  # an answer of a form that nobody foresaw must not hide the checks after it
        return Result(check, target.model, "failed", _words(error)[:500])


def _words(error: Any) -> str:
    """What went wrong; of gRPC's errors code and details, for their own text is a report of many lines."""
    if callable(details := getattr(error, "details", None)):
        return f"the call ended with {error.code().name}: {details()}"
    return f"{type(error).__name__}: {error}"


def _judged(check: Check, target: Target, profile: Profile, failure: Failed) -> Result:
    seen = str(failure)[:500]
    if profile == "relaxed" and failure.dialect:
        return Result(check, target.model, "passed", f"{seen} (tolerated: {failure.dialect})")
    if profile == "relaxed" and check.level == "SHOULD":
        return Result(check, target.model, "passed", f"{seen} (tolerated: not a MUST)")
    return Result(check, target.model, "failed", seen)
