"""The run as it went: median and largest latency, and requests, in steps of 100 ms, with what happened beside."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report.drawing import (
    LIMIT_COLOUR,
    LIMIT_LINE,
    QUIET,
    Look,
    Picture,
    legend_above,
    logarithmic,
    plain_axes,
    widened,
)
from loadtests.report.schema import Document, MarkPart, StallPart, StretchPart

_CAPTION = (
    "In steps of 100 ms by planned send time: the largest latency of each step as a thin line, its median as a thick "
    "one; below, the requests that were due (line) and the good answers to them (dots)."
)
_MARKED = (
    " Dotted grey lines are numbered marks, listed below; a red triangle is a stall: requests waited and nothing was "
    "answered."
)
# More numbers than these would cover one another.
MOST_NUMBERED = 30
# Beyond so many steps thick lines run into one another.
MANY_STEPS = 600


def timeline_picture(document: Document, shown: Mapping[str, Look]) -> Picture | None:
    """None where nothing was measured."""
    stretches = [one for one in document.timeline if any(one.planned)]
    times = [ms for one in stretches for ms in (*one.p50_ms, *one.max_ms) if ms]
    if not times:
        return None
    caption = _CAPTION + (_MARKED if document.marks or document.stalls else "")

    def draw(figure: Figure) -> None:
        above, below = plain_axes(figure, rows=2, heights=(2.2, 1))
        _curves(above, below, stretches, shown)
        logarithmic(above, "y", *widened(times, 1.5))
        _beside(above, below, document.marks, document.stalls)
        if document.objective_p99_ms:
            above.axhline(
                document.objective_p99_ms, color=LIMIT_COLOUR, linestyle=LIMIT_LINE, linewidth=1,
                label=f"objective {document.objective_p99_ms:g} ms",
            )  # fmt: skip
        above.set_ylabel("latency, ms")
        below.set_ylabel("requests\nin 100 ms")
        below.set_ylim(bottom=0)
        below.set_xlabel("seconds since the first block began")
        below.margins(x=0.01)
        legend_above(above)

    return Picture("timeline", "Timeline", caption, draw, width=11.5, height=4.6)


def _curves(above: Axes, below: Axes, stretches: Sequence[StretchPart], shown: Mapping[str, Look]) -> None:
    named: set[str] = set()
    thick = 2.2 if sum(len(one.at_s) for one in stretches) <= MANY_STEPS else 1.2
    for one in stretches:
        look = shown[one.version]
        middle_s = [at + one.step_s / 2 for at in one.at_s]
        label = None if one.version in named else one.version
        named.add(one.version)
        above.plot(middle_s, _gaps(one.max_ms), color=look.colour, linewidth=0.8, alpha=0.8)
        above.plot(middle_s, _gaps(one.p50_ms), color=look.colour, linewidth=thick, label=label, solid_capstyle="round")
        below.plot(middle_s, one.planned, color=look.colour, linewidth=0.9, alpha=0.7)
        below.plot(middle_s, one.answered, ".", color=look.colour, markersize=2.5)


def _beside(above: Axes, below: Axes, marks: Sequence[MarkPart], stalls: Sequence[StallPart]) -> None:
    for number, mark in enumerate(marks, start=1):
        for axes in (above, below):
            axes.axvline(mark.at_s, color=QUIET, linewidth=0.8, linestyle=":", zorder=0)
        if len(marks) <= MOST_NUMBERED:
            above.annotate(
                str(number), (mark.at_s, 1), xycoords=("data", "axes fraction"), xytext=(1, -8),
                textcoords="offset points", fontsize=7, color=QUIET,
            )  # fmt: skip
    if stalls:
        middle_s = [one.at_s + one.lasts_ms / 2e3 for one in stalls]
        above.plot(
            middle_s, [0.97] * len(stalls), "v", color=LIMIT_COLOUR, markersize=6,
            transform=above.get_xaxis_transform(), label="stall", clip_on=False,
        )  # fmt: skip


def _gaps(values: Sequence[float | None]) -> list[float]:
    """A step without an answer breaks the line."""
    return [math.nan if value is None else value for value in values]
