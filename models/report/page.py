"""The report as one self-contained HTML page: charts, table, and for each variant its verdict, recipe and flips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from models.report import words
from models.report.charts import class_chart, latency_chart, size_chart
from models.report.examples import Examples
from models.report.front import front
from models.report.rows import Row, batch_sizes, comparable, main_figure
from models.report.table import cells
from service.repository.card_tasks import UnlabelledQuality


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows.

    Attributes:
        model: its name.
        rows: a row a version.
        labels: names of the classes, in order.
        flips: version -> its flipped inputs; empty without a test set.
        why_no_flips: a sentence in their place.
    """

    model: str
    rows: Sequence[Row]
    labels: Sequence[str]
    flips: Mapping[str, Examples]
    why_no_flips: str = ""

    def html(self) -> str:
        """The page; the same cards and flips give the same text."""
        loader = PackageLoader("models.report", package_path="")
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        sizes = batch_sizes(self.rows)
        charts = [size_chart(self.rows), *(latency_chart(self.rows, count) for count in sizes)]
        return environment.get_template("page.html").render(
            page=self,
            summary=summary(self.rows),
            sizes=sizes,
            cells={row.version: cells(row, sizes, main_figure(self.rows)) for row in self.rows},
            headline=main_figure(self.rows),
            charts=[chart for chart in charts if chart],
            class_charts={row.version: class_chart(row, self.labels) for row in self.rows},
            arguments=_arguments,
        )


def summary(rows: Sequence[Row]) -> tuple[str, ...]:
    """What the figures come to, in sentences."""
    variants = [row for row in rows if not row.is_full]
    passed = [row.version for row in variants if row.card.verdict == "pass"]
    if not variants:
        return ("There are no variants.",)
    said = f"{len(passed)} of {len(variants)} variants passed the gate" + (f": {', '.join(passed)}." if passed else ".")
    return (said, *_fronts(rows))


def _fronts(rows: Sequence[Row]) -> tuple[str, ...]:
    measured = comparable(rows)
    if not measured:
        return ("No quality was measured.",)
    higher = measured[0][1].higher_is_better
    by_size = {row.version: (float(row.bytes), best.value) for row, best in measured if row.bytes is not None}
    sentences = [f"On the front of size and quality: {_listed(front(by_size, higher_is_better=higher))}."]
    for count in batch_sizes(rows):
        by_time = {row.version: (pace.share, best.value) for row, best in measured if (pace := row.pace(count))}
        on_it = _listed(front(by_time, higher_is_better=higher))
        sentences.append(f"On the front of time and quality, {count} row{'s' if count != 1 else ''} a run: {on_it}.")
    untested = [row.version for row in rows if _is_untested(row)]
    if untested:
        sentences.append(f"Without a test set, so that nothing shows how good they are: {', '.join(untested)}.")
    return tuple(sentences)


def _is_untested(row: Row) -> bool:
    return bool(row.card.quality) and isinstance(row.card.quality[0], UnlabelledQuality)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else words.NOTHING


def _arguments(arguments: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in arguments.items())
