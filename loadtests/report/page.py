"""The report as one HTML page that needs no other file, no network and no script."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from loadtests.advice import LEAST_AGREEMENT
from loadtests.knee import AGAIN, MOST_S, MOST_TRIES
from loadtests.measures.resampling import RESAMPLES
from loadtests.report import words
from loadtests.report.drawing import Picture
from loadtests.report.schema import Document, TryPart
from loadtests.report.table import against, lines
from loadtests.verdict import CONFIDENCE, LEAST_DIFFERENCE, MOST_LAG_MS

# A run may swap hundreds of times; the page names so many, report.json has all.
MOST_LISTED = 40


def page(document: Document, drawn: Sequence[Picture]) -> str:
    """The page; the same document gives the same text."""
    loader = PackageLoader("loadtests.report", package_path="")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["number"] = words.number
    return environment.get_template("page.html").render(
        report=document,
        lines=lines(document),
        against=against(document),
        drawn=[(one, one.svg()) for one in drawn],
        lags=[(label, one.lag_p99_ms) for label, one in document.measured],
        most_lag_ms=MOST_LAG_MS,
        most_tries=MOST_TRIES,
        most_s=MOST_S,
        again=AGAIN,
        least_agreement=LEAST_AGREEMENT,
        resamples=RESAMPLES,
        confidence=CONFIDENCE,
        least_difference=LEAST_DIFFERENCE,
        most_listed=MOST_LISTED,
        happened=happened(document),
        figure=words.figure,
        ratio=words.ratio,
        share=words.share,
        p99_of=_p99_of,
    )


def happened(document: Document) -> tuple[str, ...]:
    """Marks by their numbers in the timeline, then stalls, a sentence each."""
    marks = [f"{number}: {one.text}, at {one.at_s:.2f} s" for number, one in enumerate(document.marks, start=1)]
    stalls = [
        f"stall: {one.version} answered nothing for {one.lasts_ms:.0f} ms from {one.at_s:.2f} s on, "
        f"while {one.waiting} request{'s' if one.waiting != 1 else ''} waited"
        for one in document.stalls
    ]
    return (*marks, *stalls)


def _p99_of(one: TryPart) -> str:
    return "endless" if one.p99_ms is None else words.number(one.p99_ms)
