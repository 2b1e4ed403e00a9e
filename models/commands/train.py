"""`retort train`: trains a named model here and publishes it with its variants, each measured and judged."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from models.commands.needs import TRAINING, refuse_without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.families.making import Outcome
    from models.families.order import Order

HELP = """Train a named model and its compressed variants.

The full version is trained first, its variants are made of it, and each one is published with its card as soon as it
is measured. A run that was interrupted goes on when the same command is given again; what is published already is
left as it is. Data sets that are not shipped are read from the folder that --data names.

The ledger notes which making a test set has decided about: another choice with the same test set is refused. It is
the file .MODEL.ledger.jsonl in REPOSITORY unless --ledger names another.

\b
Examples:
  retort train digits --publish /tmp/models/digits
  retort train mnist --data /data/mnist --publish /tmp/models/mnist --result mnist.json
  retort train mnist --data /data/mnist --publish /tmp/models/mnist --only 1-deep --only 2-deep

\b
Exit codes:
  0    every variant that was asked for passed the gate
  1    an error, or a variant that could not be made where all others passed
  2    a mistyped option
  3    a variant failed the gate or had too little data; it is published, and its card says so
  130  interrupted; the same command goes on
"""

CANNOT, NOT_PASSED, INTERRUPTED = 1, 3, 130
WORK = Path(".retort-work")

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command("train", help=HELP)
def train(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: Annotated[str, typer.Argument(metavar="NAME", help="digits, mnist, cifar10, sst2 or banking77.")],
    publish: Annotated[Path, typer.Option(metavar="REPOSITORY/MODEL", help="The model's folder; made if need be.")],
    data: Annotated[Path | None, typer.Option(metavar="PATH", help="Folder of the data set.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="VERSION", help="May be given again [every one].")] = None,
    profile: Annotated[Literal["default", "strict"], typer.Option(help="How strict the gate is.")] = "default",
    runs: Annotated[int, typer.Option(min=1, help="Timed runs for each batch size.")] = 300,
    processes: Annotated[int, typer.Option(min=1, help="That share the work of training.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="The small form: tries the path, is worth nothing.")] = False,
    work: Annotated[Path | None, typer.Option(metavar="DIR", help="For interruptions [.retort-work/NAME].")] = None,
    ledger: Annotated[Path | None, typer.Option(metavar="FILE", help="See above.")] = None,
    result: Annotated[Path | None, typer.Option(metavar="FILE", help="The figures, as .json or .md.")] = None,
) -> None:
    """See `HELP`."""
    from models.families import registry  # noqa: PLC0415

    if name not in registry.NAMES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(registry.NAMES)}", param_hint="NAME")
    if result is not None and result.suffix not in (".json", ".md"):
        raise typer.BadParameter(f"{result} must end with .json or .md", param_hint="--result")
    refuse_without("train", TRAINING)
    from models.families.order import Order  # noqa: PLC0415

    folder = _folder(publish)
    order = Order(
        name=name,
        folder=folder,
        work=work or WORK / name,
        ledger=ledger or folder.parent / f".{folder.name}.ledger.jsonl",
        data=data,
        only=tuple(only or ()),
        profile=profile,
        runs=runs,
        quick=quick,
        processes=processes,
    )
    raise typer.Exit(_run(order, result))


def _folder(publish: Path) -> Path:
    from models.source import BadSource, model_folder  # noqa: PLC0415

    try:
        return model_folder(publish)
    except BadSource as error:
        _give_up(str(error))


def _run(order: Order, result: Path | None) -> int:
    from rich.console import Console  # noqa: PLC0415

    from models.families.making import UnknownVersion, carry_out  # noqa: PLC0415
    from models.progress import progress_on  # noqa: PLC0415

    console = Console(stderr=True)

    def tell(outcome: Outcome) -> None:
        for line in _lines(outcome):
            console.print(line, highlight=False, soft_wrap=True, markup=False)

    try:
        outcomes = carry_out(order, progress_on(console), tell)
    except KeyboardInterrupt:
        typer.echo("retort: interrupted; the same command goes on where this one was.", err=True)
        return INTERRUPTED
    except UnknownVersion as error:
        raise typer.BadParameter(str(error), param_hint="--only") from error
    except (ValueError, ArithmeticError, OSError, RuntimeError) as error:
        _give_up(str(error))
    _print(outcomes)
    if result is not None:
        _write(result, order, outcomes)
    return _exit_code(outcomes)


def _lines(outcome: Outcome) -> list[str]:
    if outcome.card is None:
        return [f"{outcome.version}: could not be made: {' '.join(outcome.notes)}"]
    state = "was published before" if outcome.published_before else "published"
    verdict = f", verdict {outcome.card.verdict}" if outcome.card.verdict else ""
    return [f"{outcome.version}: {state}{verdict}", *(f"  {note}" for note in outcome.notes)]


def _print(outcomes: Sequence[Outcome]) -> None:
    from models.families.figures import COLUMNS, rows  # noqa: PLC0415

    table = [COLUMNS, *rows(outcomes)]
    widths = [max(len(line[at]) for line in table) for at in range(len(COLUMNS))]
    for line in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _write(result: Path, order: Order, outcomes: Sequence[Outcome]) -> None:
    from models.families.figures import to_json, to_markdown  # noqa: PLC0415

    command = shlex.join(["retort", *sys.argv[1:]])
    form = to_json if result.suffix == ".json" else to_markdown
    try:
        result.write_text(form(order.folder.name, outcomes, command), encoding="utf-8")
    except OSError as error:
        _give_up(f"the result cannot be written: {error}.")


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    judged = [one.card for one in outcomes if one.card and one.card.variant_of]
    if any(card.verdict != "pass" for card in judged):
        return NOT_PASSED
    return CANNOT if any(one.card is None for one in outcomes) else 0


def _give_up(sentence: str) -> NoReturn:
    typer.echo(f"retort: {sentence}", err=True)
    raise typer.Exit(CANNOT)
