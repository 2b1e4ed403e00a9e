"""`retort report`: what the cards of a model's versions say, as a table and as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.commands.needs import PAGES, refuse_without

if TYPE_CHECKING:
    from models.report.gather import Gathered

HELP = """Compare a model's versions by their cards.

Prints a table. With --html also writes one page that needs no other file: size and latency against quality, what
changes in each class, and which inputs flip and why. For the flips it runs full version and variant on the test set:
name it with --test (a .npz with one array per input and `labels`), or with --data for a model that `retort train`
knows; the digits that are shipped bring their own. No figure of a card comes from that run.

\b
Examples:
  retort report models/repository/digits
  retort report models/repository/digits --html digits.html
  retort report repository/spam --html spam.html --test test.npz

\b
Exit codes:
  0  printed, and written
  1  there is no such model, no version has a card, or the test set is another one than the cards'
  2  a mistyped option
"""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command("report", help=HELP)
def report(
    model: Annotated[Path, typer.Argument(metavar="REPOSITORY/MODEL", help="The model's folder.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the page there.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="The test set.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="PATH", help="The data of a model that can be trained.")] = None,
    flips: Annotated[int, typer.Option(min=0, help="Most flipped inputs to draw of each variant.")] = 8,
) -> None:
    """See `HELP`."""
    refuse_without("report", PAGES)
    from models.report.gather import CannotReport, gather  # noqa: PLC0415

    try:
        gathered = gather(model)
        _print(gathered)
        if html is not None:
            html.write_text(_page(gathered, test, data, flips), encoding="utf-8")
            typer.echo(f"written: {html}", err=True)
    except (CannotReport, OSError) as refusal:
        typer.echo(f"retort: {refusal}", err=True)
        raise typer.Exit(1) from None


def _print(gathered: Gathered) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.measure import Measurement  # noqa: PLC0415

    from models.report.table import table  # noqa: PLC0415

    console, made = Console(), table(gathered.model, gathered.rows)
    # Rich would fold the table into the terminal's columns, 80 without one, and leave halves of cells.
    wanted = Measurement.get(console, console.options.update_width(500), made).maximum
    Console(width=max(console.width, wanted)).print(made)


def _page(gathered: Gathered, test: Path | None, data: Path | None, most: int) -> str:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from models.report.gather import flipped, test_set  # noqa: PLC0415
    from models.report.page import Page  # noqa: PLC0415

    samples, why = test_set(gathered, test, data)
    found = {}
    if samples is not None:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("flipped inputs", total=None)
            found = flipped(gathered, samples, most, lambda: progress.advance(task))
    return Page(gathered.model, gathered.rows, gathered.labels, found, why).html()
