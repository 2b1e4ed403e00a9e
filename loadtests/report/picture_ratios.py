"""Each version against its full one: ratios with their intervals, the line at 1 being "no difference"."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtests.report.drawing import QUIET, Look, Picture, logarithmic, plain_axes, reach
from loadtests.report.schema import Document, Value, VersusPart

_CAPTION = (
    "Ratios own / full version under the same traffic, with intervals. Less latency is better, and more rate. "
    "An interval that crosses the line at 1 shows no difference."
)
_Line = tuple[str, Value, Look]


def ratios_picture(document: Document, shown: Mapping[str, Look]) -> Picture | None:
    """None where nothing was held against anything."""
    lines = [line for one in document.versus for line in _lines(one, shown[one.version])]
    if not lines:
        return None

    def draw(figure: Figure) -> None:
        (axes,) = plain_axes(figure)
        for at, line in enumerate(lines):
            _draw(axes, at, line)
        axes.axvline(1, color=QUIET, linewidth=1)
        axes.set_yticks(range(len(lines)), [name for name, _, _ in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        ends = [end for _, one, _ in lines for end in (one.value, one.low, one.high) if end]
        logarithmic(axes, "x", min(*ends, 1) / 1.2, max(*ends, 1) * 1.2)
        axes.set_xlabel("own / full version (logarithmic)")

    return Picture("ratios", "Against the full version", _CAPTION, draw, height=1.1 + 0.36 * len(lines))


def _lines(one: VersusPart, look: Look) -> list[_Line]:
    named = {"median latency": one.p50, "p99 latency": one.p99, "rate held": one.rate}
    return [
        (f"{one.version}: {name}", value, look) for name, value in named.items() if value is not None and value.value
    ]


def _draw(axes: Axes, at: int, line: _Line) -> None:
    _, one, look = line
    if one.value is None:
        return
    axes.errorbar(
        one.value, at, xerr=reach(one.value, one.low, one.high), color=look.colour, marker=look.marker, markersize=6,
        capsize=3, linewidth=1.6,
    )  # fmt: skip
    axes.annotate(
        f"{one.value:.2f}x", (one.value, at), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8
    )
