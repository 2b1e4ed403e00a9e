"""How every picture of the report looks: colours, marks, axes; and a picture as inline SVG or as a PNG.

The same document gives the same bytes: no dates, no random ids.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from loadtests.report.ticks import log_ticks, plain

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "retort",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
}
# Okabe and Ito's colours, which people who see fewer colours tell apart; the marker says the same again.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
QUIET = "#666666"
LIMIT_COLOUR = "#a00000"
LIMIT_LINE = (0, (4, 2))
PNG_DOTS_PER_INCH = 150

Draw = Callable[[Figure], None]


@dataclass(frozen=True, slots=True)
class Look:
    """Colour and marker of one version, the same in every picture."""

    colour: str
    marker: str


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """Version's label -> its look, by the order of the labels."""
    return {
        label: Look(_COLOURS[at % len(_COLOURS)], _MARKERS[at % len(_MARKERS)])
        for at, label in enumerate(dict.fromkeys(labels))
    }


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        name: of its PNG.
        title: a heading.
        caption: what is to be seen, in plain words.
        draw: onto an empty figure.
        width: inches.
        height: inches.
    """

    name: str
    title: str
    caption: str
    draw: Draw
    width: float = 6.4
    height: float = 3.8

    def svg(self) -> str:
        """As an <svg> element; text stays text, and scales down with the page."""
        with mpl.rc_context({**_STYLE, "svg.hashsalt": f"retort {self.name}"}):
            buffer = io.StringIO()
            self._figure().savefig(buffer, format="svg", metadata={"Date": None})
        text = buffer.getvalue()
        return _apart(text[text.index("<svg") :], self.name)

    def png(self) -> bytes:
        """As a file."""
        with mpl.rc_context(_STYLE):
            buffer = io.BytesIO()
            self._figure().savefig(buffer, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
        return buffer.getvalue()

    def _figure(self) -> Figure:
        figure = Figure(figsize=(self.width, self.height), layout="constrained")
        self.draw(figure)
        return figure


def _apart(svg: str, name: str) -> str:
    """Ids of groups such as figure_1 are the same in every picture, and one page may hold each id but once."""
    svg = svg.replace('<g id="', f'<g id="{name}-', -1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)


def plain_axes(figure: Figure, *, rows: int = 1, heights: Sequence[float] | None = None) -> list[Axes]:
    """Axes one above the other over a shared x axis, without a frame at top and right, with a light grid."""
    made = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes in made:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    return list(made)


def logarithmic(axes: Axes, which: str, low: float, high: float) -> None:
    """Makes "x" or "y" logarithmic from `low` to `high`, with ticks in plain numbers."""
    scale, limits, axis = (getattr(axes, name) for name in (f"set_{which}scale", f"set_{which}lim", f"{which}axis"))
    scale("log")
    limits(low, high)
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def widened(values: Sequence[float], by: float = 1.15) -> tuple[float, float]:
    """The smallest and largest of positive values, with room at both ends."""
    return min(values) / by, max(values) * by


def legend_above(axes: Axes, *, columns: int = 4) -> None:
    """A legend that covers no data: in a line above the axes."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(columns, len(handles)), fontsize=8,
            borderaxespad=0.2, handletextpad=0.5, columnspacing=1.4,
        )  # fmt: skip


def reach(value: float, low: float | None, high: float | None) -> list[list[float]] | None:
    """How far the interval's ends lie from the value, as matplotlib wants it."""
    if low is None or high is None:
        return None
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
