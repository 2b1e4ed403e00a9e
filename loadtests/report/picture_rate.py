"""Latency against rate, from the rates that the searches for the knees tried."""

from __future__ import annotations

import math
from collections.abc import Mapping

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
from loadtests.report.schema import Document, KneePart, TryPart
from loadtests.report.ticks import plain

_CAPTION = (
    "Every rate that the search tried. Solid: p99 of all planned requests; dotted: the median. A cross is a try that "
    "missed the objective, an arrow at the top a p99 beyond any answer. The vertical line is the knee, the highest "
    "rate that meets the objective; the band around it is its 95 % interval. A cross far below it is a slow spell."
)


def rate_picture(document: Document, shown: Mapping[str, Look]) -> Picture | None:
    """None where no knee was looked for."""
    knees = {one.label: one.knee for one in document.versions if one.knee is not None and one.knee.tried}
    if not knees:
        return None
    tries = [one for knee in knees.values() for one in knee.tried]
    times = [ms for one in tries for ms in (one.p50_ms, one.p99_ms) if ms]
    limit_ms = next(iter(knees.values())).limit_ms
    low, high = widened([*times, limit_ms], 1.4)

    def draw(figure: Figure) -> None:
        (axes,) = plain_axes(figure)
        for place, (label, knee) in enumerate(knees.items()):
            _version(axes, label, knee, shown[label], (high, place))
        axes.axhline(
            limit_ms, color=LIMIT_COLOUR, linestyle=LIMIT_LINE, linewidth=1, label=f"objective {limit_ms:g} ms"
        )
        logarithmic(axes, "x", *widened([one.rate for one in tries]))
        logarithmic(axes, "y", low, high)
        axes.set_xlabel("planned rate, requests a second")
        axes.set_ylabel("latency, ms (solid: p99, dotted: median)")
        legend_above(axes)

    return Picture("latency-against-rate", "Latency against rate", _CAPTION, draw, height=4.2)


def _version(axes: Axes, label: str, knee: KneePart, look: Look, top: tuple[float, int]) -> None:
    high, place = top
    ordered = sorted(knee.tried, key=lambda one: one.rate)
    met = [one for one in ordered if one.met]
    rates, p50_ms, p99_ms = ([_or_gap(getattr(one, name)) for one in met] for name in ("rate", "p50_ms", "p99_ms"))
    axes.plot(rates, p50_ms, color=look.colour, linestyle=":", linewidth=1.2)
    axes.plot(rates, p99_ms, marker=look.marker, color=look.colour, linewidth=1.4, markersize=5, label=label)
    for one in ordered:
        if not one.met:
            _missed(axes, one, look, high)
    if knee.rate is not None:
        axes.axvline(knee.rate, color=look.colour, linewidth=0.8, alpha=0.8)
        if knee.low is not None and knee.high is not None:
            axes.axvspan(knee.low, knee.high, color=look.colour, alpha=0.12, linewidth=0)
        axes.annotate(
            plain(float(f"{knee.rate:.3g}")), (knee.rate, 0.03 + 0.06 * place), xycoords=("data", "axes fraction"),
            xytext=(3, 0), textcoords="offset points", fontsize=8, color=look.colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )  # fmt: skip


def _missed(axes: Axes, one: TryPart, look: Look, high: float) -> None:
    endless = one.p99_ms is None
    axes.plot(
        [one.rate], [high / 1.15 if endless else one.p99_ms], color=look.colour, linestyle="none",
        marker=r"$\uparrow$" if endless else "x", markersize=8 if endless else 6, markeredgecolor=look.colour or QUIET,
    )  # fmt: skip


def _or_gap(value: float | None) -> float:
    return math.nan if value is None else value
