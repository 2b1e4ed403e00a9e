"""The figures as lines of cells, a column a version: for the page, and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from loadtests.report import words
from loadtests.report.schema import Document, SummaryPart, Value, VersionPart, VersusPart
from loadtests.report.words import figure, number, share

_PERCENTILES = (("p50", "50"), ("p90", "90"), ("p99", "99"), ("p99.9", "99.9"))


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of all versions.

    Attributes:
        name: with its unit.
        cells: one a version.
    """

    name: str
    cells: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether any version has it."""
        return any(cell != words.NOTHING for cell in self.cells)


def lines(document: Document) -> tuple[Line, ...]:
    """All figures that at least one version has; without an objective, none that is about one."""
    measured = _measured(objective=document.objective_p99_ms is not None)
    made = [Line(name, tuple(_cell(one, read) for one in document.versions)) for name, read in measured]
    made += [Line(name, tuple(read(one) for one in document.versions)) for name, read in _told()]
    return tuple(line for line in made if line.known)


def _cell(one: VersionPart, read: Callable[[SummaryPart], str]) -> str:
    return words.NOTHING if one.summary is None else read(one.summary)


_TIMELY: Sequence[tuple[str, Callable[[SummaryPart], str]]] = (
    ("goodput, requests/s", lambda one: figure(one.goodput)),
    ("in time", lambda one: figure(one.in_time, share)),
    ("right and in time", lambda one: figure(one.effective_accuracy, share)),
)
# No answer is late where nothing says when it would be.
_ANY_TIME: Sequence[tuple[str, Callable[[SummaryPart], str]]] = (
    ("right", lambda one: figure(one.effective_accuracy, share)),
)


def _measured(*, objective: bool) -> Sequence[tuple[str, Callable[[SummaryPart], str]]]:
    return (
        ("requests", lambda one: f"{one.requests} in {one.rounds} rounds"),
        ("offered, requests/s", lambda one: number(one.offered)),
        ("achieved, requests/s", lambda one: figure(one.achieved)),
        *((f"{name}, ms", _percentile(key)) for name, key in _PERCENTILES),
        ("errors", lambda one: words.kinds(one.errors)),
        *(_TIMELY if objective else _ANY_TIME),
        ("mean batch, rows", lambda one: number(one.mean_batch)),
        ("queue (server), ms", lambda one: number(one.queue_ms)),
        ("compute (server), ms", lambda one: number(one.compute_ms)),
        ("CPU a request, ms", lambda one: number(one.cpu_ms)),
        ("energy a request, J", lambda one: number(one.joules)),
        ("resident memory", lambda one: words.size(one.resident_bytes)),
        ("generator lag p99, ms", lambda one: number(one.lag_p99_ms)),
    )


def _told() -> Sequence[tuple[str, Callable[[VersionPart], str]]]:
    return (
        ("knee, requests/s", _knee),
        ("size of the file", lambda one: words.size(one.card.size_bytes)),
        ("accuracy (card)", lambda one: share(one.card.accuracy)),
        ("agreement (card)", lambda one: share(one.card.agreement)),
        ("gate's verdict (card)", lambda one: one.card.verdict or words.NOTHING),
    )


def _percentile(key: str) -> Callable[[SummaryPart], str]:
    return lambda one: figure(one.latency_ms.get(key))


def _knee(one: VersionPart) -> str:
    if one.knee is None:
        return words.NOTHING
    if one.knee.rate is None:
        return "none met it"
    if one.knee.generator_bound:
        return f"{number(one.knee.rate)} (the generator could offer no more)"
    return figure(Value(value=one.knee.rate, low=one.knee.low, high=one.knee.high))


def against(document: Document) -> tuple[Line, ...]:
    """What was found of each version that is held against another one, a column each."""
    cells: Sequence[tuple[str, Callable[[VersusPart], str]]] = (
        ("p50", lambda one: figure(one.p50, words.ratio)),
        ("p99", lambda one: "too few answers" if one.p99 is None else figure(one.p99, words.ratio)),
        ("latency", lambda one: one.difference),
        ("knee", lambda one: figure(one.rate, words.ratio)),
        ("rate held", lambda one: one.held),
        ("agreement", lambda one: figure(one.agreement, share)),
        ("rows that it rests on", lambda one: words.NOTHING if one.agreement_rows is None else str(one.agreement_rows)),
    )
    return tuple(Line(name, tuple(read(one) for one in document.versus)) for name, read in cells)


def table(document: Document) -> Table:
    """A line a figure, a column a version."""
    made = Table(title=document.model, title_justify="left", box=None, pad_edge=False, header_style="bold")
    made.add_column("", no_wrap=True)
    for one in document.versions:
        made.add_column(one.label, justify="right", no_wrap=True)
    for line in lines(document):
        made.add_row(line.name, *line.cells)
    return made


def print_report(document: Document, console: Console | None = None) -> None:
    """Prints the table, what follows from it, the requirements and the problems; no cell is ever cut."""
    console, made = console or Console(), table(document)
    # Rich would fold the table into the terminal's columns, 80 without one, and leave halves of cells.
    wanted = Measurement.get(console, console.options.update_width(1000), made).maximum
    wide = Console(file=console.file, width=max(console.width, wanted), force_terminal=console.is_terminal)
    wide.print(made)
    for text in said(document):
        wide.print(text, markup=False, highlight=False, soft_wrap=True)


def said(document: Document) -> tuple[str, ...]:
    """What is to be read beside the table: the verdict, then the requirements, then what is wrong with the run."""
    asked = [
        f"{'met    ' if one.met else 'NOT MET'}  {one.version}: {one.text} (seen {one.seen})"
        for one in document.requirements
    ]
    problems = [f"INVALID: {problem}" for problem in document.problems]
    early = ["interrupted: what was measured until then is reported."] if document.interrupted else []
    return (*(one.sentence for one in document.versus), *asked, *problems, *early, *document.notes)
