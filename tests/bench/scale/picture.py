"""The picture of the scale measurement: what one more costs, in units of what it costs at the smallest size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from loadtests.report.drawing import QUIET, Picture, looks

_TITLES = {
    "models": "CPU a request, by loaded models",
    "connections": "CPU a request, by connections",
    "queue": "CPU of one more, by requests that wait",
    "loading": "until ready, s, by models",
}
_COST = "us"
_TIMES = "until ready"


def drawn(parts: Mapping[str, Any]) -> str:
    """As a file of SVG."""

    def draw(figure: Figure) -> None:
        for axes, part in zip(figure.subplots(2, 2).flat, _TITLES, strict=True):
            axes.set_title(_TITLES[part])
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25, linewidth=0.6)
            _fill(axes, part, _lines(parts.get(part, {})))

    svg = Picture("scale", "Scale", "", draw, width=8.0, height=6.4).svg()
    return svg.replace("<svg ", '<svg style="background: white" ', 1) + "\n"


def _lines(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: line for name, line in part.items() if line["unit"] == _COST or _TIMES in name}


def _fill(axes: Any, part: str, lines: Mapping[str, Any]) -> None:
    for (name, line), look in zip(lines.items(), looks([*lines]).values(), strict=True):
        sizes = {int(size): figures for size, figures in line["sizes"].items()}
        figures = [one["median"] if part == "loading" else one["ratio"][0] for one in sizes.values()]
        label = name.removesuffix(", until ready")
        axes.plot([*sizes], figures, label=label, color=look.colour, marker=look.marker, markersize=4, linewidth=1.2)
    if part == "loading":
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    else:
        axes.set_xscale("symlog" if part == "queue" else "log")
        axes.axhline(1.0, color=QUIET, linewidth=0.8)
        axes.set_ylim(0, max(2.0, axes.get_ylim()[1]))
    if lines:
        axes.legend(frameon=False, fontsize=7)
