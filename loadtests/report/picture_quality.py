"""What a version is worth against what it costs: quality, p99 and size in one picture, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report import words
from loadtests.report.drawing import QUIET, Look, Picture, logarithmic, plain_axes, reach, widened
from loadtests.report.front import front
from loadtests.report.schema import Document, Value, VersionPart

_CAPTION = (
    "Further up is better, further left is faster, and a smaller disc is a smaller file. A ring marks the Pareto "
    "front: no other version is at least as good in all of quality, p99 and size, and better in one."
)
_LARGEST, _SMALLEST = 500.0, 30.0


@dataclass(frozen=True, slots=True)
class _Point:
    version: str
    p99: Value
    quality: Value
    size_bytes: int | None

    @property
    def costs(self) -> tuple[float, ...]:
        return self.p99.value or math.inf, -(self.quality.value or 0), float(self.size_bytes or 0)


def quality_picture(document: Document, shown: Mapping[str, Look]) -> Picture | None:
    """None where fewer than two versions have both a p99 and a quality."""
    name, points = _points(document.versions)
    if len(points) < 2:
        return None
    best = front({one.version: one.costs for one in points})
    largest = max((one.size_bytes or 0 for one in points), default=0)

    def draw(figure: Figure) -> None:
        (axes,) = plain_axes(figure)
        for one in points:
            area = max(_SMALLEST, _LARGEST * (one.size_bytes or 0) / largest) if largest else _SMALLEST
            _point(axes, one, shown[one.version], area, on_front=one.version in best)
        p99s = [end for one in points for end in (one.p99.value, one.p99.low, one.p99.high) if end]
        logarithmic(axes, "x", *widened(p99s, 1.35))
        axes.margins(y=0.35)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        axes.set_xlabel("p99 of the latency under this traffic, ms (logarithmic)")
        axes.set_ylabel(name)

    return Picture("quality", "Quality, p99 and size", _CAPTION, draw)


def _points(versions: Sequence[VersionPart]) -> tuple[str, list[_Point]]:
    """The cards' accuracies where all have one; else what was right and in time here."""
    measured = [one for one in versions if one.summary is not None and "99" in one.summary.latency_ms]
    by_card = bool(measured) and all(one.card.accuracy is not None for one in measured)
    points = []
    for one in measured:
        if one.summary is None:
            continue
        quality = Value(value=one.card.accuracy) if by_card else one.summary.effective_accuracy
        if quality is not None and quality.value is not None:
            points.append(_Point(one.label, one.summary.latency_ms["99"], quality, one.card.size_bytes))
    return ("accuracy by the card" if by_card else "right and in time"), points


def _point(axes: Axes, one: _Point, look: Look, area: float, *, on_front: bool) -> None:
    p99, quality = one.p99.value, one.quality.value
    if p99 is None or quality is None:
        return
    axes.errorbar(
        p99, quality, xerr=reach(p99, one.p99.low, one.p99.high),
        yerr=reach(quality, one.quality.low, one.quality.high), color=look.colour, capsize=2, linewidth=1,
    )  # fmt: skip
    axes.scatter([p99], [quality], s=area, color=look.colour, alpha=0.75, linewidths=0, zorder=3)
    if on_front:
        axes.scatter([p99], [quality], s=area * 1.5 + 60, facecolors="none", edgecolors=QUIET, linewidths=1.2, zorder=3)
    size = "" if one.size_bytes is None else f", {words.size(one.size_bytes)}"
    up = 6 + math.sqrt(area * 1.5 + 60) / 2
    axes.annotate(
        f"{one.version}{size}", (p99, quality), xytext=(0, up), textcoords="offset points", ha="center", fontsize=8
    )
