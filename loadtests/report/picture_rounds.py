"""The p99 of every block, round by round: what the machine's mood did to all versions, and to one alone."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from loadtests.report.drawing import Look, Picture, legend_above, logarithmic, plain_axes, widened
from loadtests.report.schema import BlockPart, Document

_CAPTION = (
    "The p99 of each block by itself. Within a round the versions met the same arrivals in random order, so a slow "
    "spell of the machine lifts all of them; intervals are drawn from whole rounds."
)


def rounds_picture(document: Document, shown: Mapping[str, Look]) -> Picture | None:
    """None with fewer than two rounds."""
    blocks = [one for one in document.blocks if one.latency_ms.get("99")]
    if len({one.round for one in blocks}) < 2:
        return None

    def draw(figure: Figure) -> None:
        (axes,) = plain_axes(figure)
        for label in dict.fromkeys(one.version for one in blocks):
            own = sorted((one for one in blocks if one.version == label), key=lambda one: one.round)
            look = shown[label]
            axes.plot(
                [one.round + 1 for one in own], [_p99(one) for one in own], color=look.colour, marker=look.marker,
                markersize=5, linewidth=1, label=label,
            )  # fmt: skip
        logarithmic(axes, "y", *widened([_p99(one) for one in blocks], 1.25))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("round")
        axes.set_ylabel("p99 of the block, ms")
        legend_above(axes)

    return Picture("rounds", "Round by round", _CAPTION, draw, height=3.2)


def _p99(block: BlockPart) -> float:
    return block.latency_ms["99"] or 0.0
