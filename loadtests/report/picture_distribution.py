"""The distribution of latencies, drawn so that the tail is as large as the middle."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from loadtests.report.drawing import (
    LIMIT_COLOUR,
    LIMIT_LINE,
    Look,
    Picture,
    legend_above,
    logarithmic,
    plain_axes,
    widened,
)
from loadtests.report.schema import Document

_CAPTION = (
    "How many answers took longer than so many milliseconds. Both axes are logarithmic: each step down is ten times "
    "fewer answers, and the last one is the slowest of all. A curve further to the left is faster."
)


def distribution_picture(document: Document, shown: Mapping[str, Look]) -> Picture | None:
    """None where nothing was answered."""
    curves = [one for one in document.distributions if one.latency_ms[-1] > 0]
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        (axes,) = plain_axes(figure)
        for place, one in enumerate(curves):
            look = shown[one.version]
            axes.plot(
                one.latency_ms, one.slower_than, color=look.colour, marker=look.marker, markersize=4, linewidth=1.6,
                markevery=(place * 7, 24), label=one.version,
            )  # fmt: skip
        _limit(axes, document.objective_p99_ms)
        positive = [ms for one in curves for ms in one.latency_ms if ms > 0]
        ends = [*positive, document.objective_p99_ms] if document.objective_p99_ms else positive
        logarithmic(axes, "x", *widened(ends))
        _shares(axes, min(one.slower_than[-1] for one in curves))
        axes.set_xlabel("latency from the planned send time, ms")
        axes.set_ylabel("answers that took longer")
        legend_above(axes)

    return Picture("distribution", "Distribution of latencies", _CAPTION, draw)


def _limit(axes: Axes, limit_ms: float | None) -> None:
    if limit_ms:
        axes.axvline(
            limit_ms, color=LIMIT_COLOUR, linestyle=LIMIT_LINE, linewidth=1, label=f"objective {limit_ms:g} ms"
        )
        axes.plot([limit_ms], [0.01], marker="_", color=LIMIT_COLOUR, markersize=12)


def _shares(axes: Axes, least: float) -> None:
    """Half, then each tenth part down to the smallest share."""
    axes.set_yscale("log")
    axes.set_ylim(least / 1.3, 1.1)
    axes.yaxis.set_major_locator(FixedLocator([1, 0.5, *(10.0**-at for at in range(1, 8) if 10.0**-at >= least / 1.3)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_minor_locator(NullLocator())
