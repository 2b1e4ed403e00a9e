"""The answer to a swap or a rollback, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer


def print_report(report: Mapping[str, Any]) -> None:
    """Prints the server's report: what was exchanged, in which time, and what was checked."""
    for line in report_lines(report):
        typer.echo(line)


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """One line each for the exchange, the agreement, the golden cases and the warning, where there is one."""
    times = ", ".join(f"{name} {report[f'{name}_ms']:.0f} ms" for name in ("load", "warm", "drain"))
    before = "as before" if report["from"] == report["to"] else f"{report['from'] or 'none'} did before"
    lines = [f"{report['model']}: version {report['to']} answers, {before} ({times})"]
    agreement, golden = report["agreement"], report["golden"]
    if agreement is not None:
        share = f"{agreement['value']:.2%} of {agreement['n']} rows"
        lines.append(f"agreement with the full version: {share} ({agreement['source']})")
    if golden is None:
        lines.append("golden cases: none")
    else:
        lines.append(f"golden cases: {golden['n']} rows hold, largest difference {golden['max_abs']:.3g}")
    if report["warning"]:
        lines.append(f"warning: {report['warning']}")
    return lines
