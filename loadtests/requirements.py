"""What a comparison must show for a pipeline to go on: `p99 <= 0.8x`, `agreement >= 0.98`, `errors <= 0.1%`.

A requirement is met only when the unfavourable end of the figure's interval meets it: what was not shown is not met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from loadtests.measures.resampling import Figure
from loadtests.measures.summary import Summary
from loadtests.verdict import Versus

_FORM = re.compile(
    r"\s*(?P<name>[a-z][a-z0-9_.]*)\s*(?P<sign><=|>=|<|>)\s*(?P<number>[0-9.]+(?:e-?\d+)?)\s*(?P<unit>x|%|ms|)\s*"
)
_HOLDS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {
        "<=": lambda value, limit: value <= limit,
        ">=": lambda value, limit: value >= limit,
        "<": lambda value, limit: value < limit,
        ">": lambda value, limit: value > limit,
    }
)


_TIMES = ("p50", "p90", "p99", "p99.9")
_SHARES = ("in_time", "effective_accuracy", "errors", "agreement")


class BadRequirement(ValueError):
    """The expression is none; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement on a variant: name of the figure, sign, number, and whether it is times the full version's."""

    text: str
    name: str
    sign: str
    limit: float
    relative: bool

    def outcome(self, own: Summary, found: Versus | None) -> tuple[bool, str]:
        """Whether it is met, and the figure in words; what was not measured is not met."""
        figure = _figure(self, own, found)
        if figure is None or figure.value != figure.value:
            return False, "not measured"
        if self.relative and figure.interval is None:
            return False, f"{figure.value:.4g}, of too few rounds for an interval"
        low, high = figure.interval or (figure.value, figure.value)
        worst = high if self.sign.startswith("<") else low
        return _HOLDS[self.sign](worst, self.limit), f"{figure.value:.4g} [{low:.4g}, {high:.4g}]"


def requirement(text: str) -> Requirement:
    """Reads an expression.

    Raises:
        BadRequirement: it is not FIGURE SIGN NUMBER with x, %, ms or nothing behind, or there is no such figure.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadRequirement(f'{text!r} is no requirement such as "p99 <= 0.8x" or "agreement >= 0.98".')
    name, unit = match["name"], match["unit"]
    known = _RELATIVE if unit == "x" else _ABSOLUTE
    if name not in known:
        kind = "as a multiple of the full version's" if unit == "x" else "by itself"
        raise BadRequirement(f"{text!r}: no figure {name!r} is known {kind}; known are {', '.join(sorted(known))}.")
    try:
        number = float(match["number"])
    except ValueError:
        raise BadRequirement(f"{text!r}: {match['number']!r} is no number.") from None
    limit = number / 100 if unit == "%" else number
    if (unit == "ms") > (name in _TIMES) or (unit == "%") > (name in _SHARES):
        raise BadRequirement(f"{text!r}: {name} is not told in {unit}.")
    if name in _SHARES and limit > 1:
        raise BadRequirement(f"{text!r}: {name} is a share of at most 1, or 100%.")
    return Requirement(text.strip(), name, match["sign"], limit, unit == "x")


def _figure(wanted: Requirement, own: Summary, found: Versus | None) -> Figure | None:
    if wanted.relative:
        return _RELATIVE[wanted.name](found) if found is not None else None
    if wanted.name == "agreement":
        agreement = None if found is None else found.agreement
        return None if agreement is None else Figure(agreement.share, agreement.interval)
    return _ABSOLUTE[wanted.name](own)


def _percentile(percent: float) -> Callable[[Summary], Figure | None]:
    return lambda summary: summary.latency_ms.get(percent)


_RELATIVE: Mapping[str, Callable[[Versus], Figure | None]] = MappingProxyType(
    {"p50": lambda found: found.p50, "p99": lambda found: found.p99, "rate": lambda found: found.rate}
)
_ABSOLUTE: Mapping[str, Callable[[Summary], Figure | None]] = MappingProxyType(
    {
        "p50": _percentile(50.0),
        "p90": _percentile(90.0),
        "p99": _percentile(99.0),
        "p99.9": _percentile(99.9),
        "achieved": lambda summary: summary.achieved,
        "goodput": lambda summary: summary.goodput,
        "in_time": lambda summary: summary.in_time,
        "effective_accuracy": lambda summary: summary.effective_accuracy,
        "errors": lambda summary: Figure(sum(summary.errors.values()) / max(summary.requests, 1)),
        "agreement": lambda _: None,
    }
)
