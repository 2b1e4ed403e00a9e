"""Charts as inline SVG: what a version costs against what it is worth, and what happens to each class.

The same rows give the same bytes: no dates, no random ids.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from models.report.front import front
from models.report.headline import Headline
from models.report.rows import Interval, Row, comparable
from service.repository.card_measures import Quality

MOST_CLASSES = 24
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "retort", "font.family": "sans-serif", "font.size": 9.0}
# Okabe and Ito's colours, which people who see fewer colours tell apart; the marker says the same again.
_MARKS = {
    None: ("#000000", "s"),
    "pass": ("#0072b2", "o"),
    "insufficient-data": ("#e69f00", "^"),
    "fail": ("#d55e00", "X"),
}
_WORDS = {None: "full version", "pass": "passed the gate", "insufficient-data": "too little data", "fail": "failed"}

Costs = Mapping[str, tuple[float, Interval | None]]


def size_chart(rows: Sequence[Row]) -> str:
    """Size on disk against the headline figure; empty where too little is known."""
    costs = {row.version: (row.bytes / 1024, None) for row in rows if row.bytes is not None}
    return _chart(rows, costs, "size on disk, kiB (logarithmic)")


def latency_chart(rows: Sequence[Row], batch: int) -> str:
    """Time of a run as a share of the full version's at one batch size, against the headline figure."""
    paces = {row.version: pace for row in rows if (pace := row.pace(batch))}
    costs: Costs = {version: (pace.share, pace.share_interval) for version, pace in paces.items()}
    return _chart(rows, costs, f"time of a run of {batch} rows, full version = 1 (logarithmic)")


def class_chart(row: Row, labels: Sequence[str]) -> str:
    """Change of recall per class against the full version, the worst `MOST_CLASSES` first; empty without."""
    quality = row.card.quality[0] if row.card.quality else None
    if not isinstance(quality, Quality) or quality.paired is None:
        return ""
    before = quality.paired.full_recall_by_class
    changes = [100 * (own - full) for own, full in zip(quality.recall_by_class, before, strict=True)]
    named = sorted(zip(changes, _names(len(changes), labels), strict=True))[:MOST_CLASSES]

    def draw(axes: Axes) -> None:
        values = [change for change, _ in named]
        colours = [_MARKS["fail"][0] if value < 0 else _MARKS["pass"][0] for value in values]
        axes.barh(range(len(named)), values, color=colours, height=0.7)
        axes.set_yticks(range(len(named)), [name for _, name in named])
        axes.invert_yaxis()
        axes.axvline(0, color="#666666", linewidth=0.8)
        axes.set_xlabel("change of recall, percentage points")

    return _svg(draw, width=5.2, height=0.8 + 0.2 * len(named))


def _chart(rows: Sequence[Row], costs: Costs, label: str) -> str:
    shown = [(row, figure) for row, figure in comparable(rows) if row.version in costs]
    if not shown:
        return ""
    first = shown[0][1]
    points = {row.version: (costs[row.version][0], figure.value) for row, figure in shown}
    best = front(points, higher_is_better=first.higher_is_better)

    def draw(axes: Axes) -> None:
        axes.plot(*zip(*(points[name] for name in best), strict=True), color="#999999", linewidth=1, zorder=1)
        seen: set[str | None] = set()
        for row, figure in shown:
            _point(axes, row, figure, *costs[row.version], legend=row.card.verdict not in seen)
            seen.add(row.card.verdict)
        _logarithmic(axes)
        axes.set_xlabel(label)
        axes.set_ylabel(first.name if first.higher_is_better else f"{first.name}, less is better")
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=4, fontsize=8)
        axes.grid(alpha=0.25)

    return _svg(draw, width=5.6, height=3.6)


def _logarithmic(axes: Axes) -> None:
    """Ratios matter, so a logarithmic axis; its ticks in plain numbers."""
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _point(axes: Axes, row: Row, figure: Headline, cost: float, interval: Interval | None, *, legend: bool) -> None:
    colour, mark = _MARKS[row.card.verdict]
    axes.errorbar(
        cost,
        figure.value,
        xerr=_reach(cost, interval),
        yerr=_reach(figure.value, figure.interval),
        color=colour,
        marker=mark,
        capsize=2,
        linestyle="none",
        label=_WORDS[row.card.verdict] if legend else None,
        zorder=2,
    )
    axes.annotate(row.version, (cost, figure.value), xytext=(5, 5), textcoords="offset points", fontsize=8)


def _reach(value: float, interval: Interval | None) -> list[list[float]] | None:
    """How far the interval's ends lie from the value, as matplotlib wants it."""
    if interval is None:
        return None
    return [[max(0.0, value - interval[0])], [max(0.0, interval[1] - value)]]


def _names(count: int, labels: Sequence[str]) -> list[str]:
    return list(labels) if len(labels) == count else [f"class {at}" for at in range(count)]


def _svg(draw: Callable[[Axes], None], *, width: float, height: float) -> str:
    """The drawing as an <svg> element; inches."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
