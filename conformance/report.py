"""A run's results as JSON, HTML, Markdown and JUnit. Pure functions of the results; writes no files."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from conformance.check import Profile, Result

SCHEMA = "retort-conformance/1"


@dataclass(frozen=True, slots=True)
class Report:
    """One run.

    Attributes:
        url: of the server.
        profile: strict or relaxed.
        complete: False where the run was interrupted.
        results: in the order of the run.
    """

    url: str
    profile: Profile
    complete: bool
    results: Sequence[Result]

    @property
    def conforms(self) -> bool:
        """Whether the run is whole and nothing failed."""
        return self.complete and all(result.status != "failed" for result in self.results)

    def counts(self) -> dict[str, dict[str, int]]:
        """Level -> status -> number."""
        counted: Counter[tuple[str, str]] = Counter((result.check.level, result.status) for result in self.results)
        levels, statuses = ("MUST", "SHOULD", "EXTENSION"), ("passed", "failed", "skipped")
        return {level: {status: counted[level, status] for status in statuses} for level in levels}


def as_json(report: Report) -> str:
    """The keys are `schema`, `url`, `profile`, `complete`, `conforms`, `counts`, `results`."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "url": report.url,
        "profile": report.profile,
        "complete": report.complete,
        "conforms": report.conforms,
        "counts": report.counts(),
        "results": [_entry(result) for result in report.results],
    }
    return json.dumps(document, indent=2) + "\n"


def _entry(result: Result) -> dict[str, str]:
    check = result.check
    return {
        "id": check.id,
        "model": result.model,
        "level": check.level,
        "status": result.status,
        "sentence": check.sentence,
        "source": check.source,
        "seen": result.seen,
    }


def as_markdown(report: Report) -> str:
    """A heading, the counts, and a row a result."""
    lines = [
        f"# Open Inference Protocol v2: {report.url} ({report.profile})",
        "",
        "| level | passed | failed | skipped |",
        "|---|---|---|---|",
        *(f"| {level} | {n['passed']} | {n['failed']} | {n['skipped']} |" for level, n in report.counts().items()),
        "",
        "| check | model | level | result | seen |",
        "|---|---|---|---|---|",
    ]
    for result in report.results:
        seen = result.seen.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {result.check.id} | {result.model} | {result.check.level} | {result.status} | {seen} |")
    return "\n".join(lines) + "\n"


_STYLE = "body{font:14px sans-serif;margin:2em}td,th{padding:.2em .6em;text-align:left;border-bottom:1px solid #ddd}"
_STYLE += ".failed{background:#fdd}.skipped{color:#777}"


def as_html(report: Report) -> str:
    """One page that needs no other file."""
    head = "".join(f"<th>{title}</th>" for title in ("check", "model", "level", "result", "sentence", "source", "seen"))
    rows = "".join(_row(result) for result in report.results)
    counts = "; ".join(
        f"{level}: {', '.join(f'{n} {s}' for s, n in c.items())}" for level, c in report.counts().items()
    )
    title = html.escape(f"Open Inference Protocol v2: {report.url}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>profile {report.profile}; {counts}</p><table><tr>{head}</tr>{rows}</table></html>\n"
    )


def _row(result: Result) -> str:
    check = result.check
    cells = (check.id, result.model, check.level, result.status, check.sentence, check.source, result.seen)
    return f'<tr class="{result.status}">{"".join(f"<td>{html.escape(cell)}</td>" for cell in cells)}</tr>'


def as_junit(report: Report) -> str:
    """A test suite with a case for each result."""
    suite = ElementTree.Element("testsuite", name="open-inference-protocol-v2", tests=str(len(report.results)))
    for result in report.results:
        case = ElementTree.SubElement(suite, "testcase", classname=result.model or "server", name=result.check.id)
        if result.status != "passed":
            kind = "failure" if result.status == "failed" else "skipped"
            ElementTree.SubElement(case, kind, message=_legal(result.seen))
    return ElementTree.tostring(suite, encoding="unicode") + "\n"


def _legal(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(char if char.isprintable() else " " for char in text)


WRITERS = {".json": as_json, ".html": as_html, ".md": as_markdown}
