"""`retort compress`: makes variants of an ONNX model by recipes, measures and judges them, and publishes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from models.commands.interrupt import INTERRUPTED, ended_by_ctrl_c
from models.commands.needs import FILES, refuse_without

if TYPE_CHECKING:
    from rich.console import Console

    from models.compressing import Outcome
    from models.order import Files, How, Job
    from models.recipes.plan import Plan

HELP = """Make, measure and judge compressed variants.

INPUT is an ONNX file, with its external data beside it, or REPOSITORY/MODEL/VERSION. It is published as a full
version, each recipe's result as a variant with a card that says what was measured and what the gate thinks of it. A
running gateway sees them at its next load or swap. What is published is never changed.

An .npz file holds one array for each input of the model, under its name, with the samples on axis 0, and for --test
and --dev also `labels` (whole numbers) or `targets` (numbers). Rows of --calibration and --dev that are in --test too
are left out, and counted in the card. Without --dev, 30 % of --test, by hash, are what choices are made on.

The ledger notes which arguments of a recipe a test set has decided about: another choice with the same test set is
refused. It is the file .MODEL.ledger.jsonl in REPOSITORY unless --ledger names another.

\b
Examples:
  retort compress net.onnx --calibration few.npz --test test.npz --recipe int8-static --publish models/net
  retort compress models/net/1 --calibration few.npz --test test.npz --recipe int4 --recipe fp16 --publish models/net
  retort compress net.onnx --calibration few.npz --test test.npz --recipe mine.yaml --until-pass --publish models/net
  retort compress models/net --remeasure --test test.npz
  retort compress --list

\b
Exit codes:
  0    every variant passed the gate
  1    an error, a run over its time, or a recipe that does not apply to this model where all others passed
  2    a mistyped option
  3    a variant failed the gate or had too little data; it is published, and its card says so
  130  interrupted; what was finished is published, the rest left nothing
"""

ERROR, FAILED = 1, 3

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command("compress", help=HELP)
def compress(  # noqa: PLR0913, PLR0917 - one parameter an option
    model: Annotated[Path | None, typer.Argument(metavar="INPUT", help="ONNX file or version's folder.")] = None,
    recipe: Annotated[list[str] | None, typer.Option(metavar="NAME|FILE", help="May be given again.")] = None,
    publish: Annotated[Path | None, typer.Option(metavar="REPOSITORY/MODEL", help="Where to.")] = None,
    calibration: Annotated[Path | None, typer.Option(metavar="FILE", help="Inputs like those to come.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="FILE", help="Inputs and answers that decide.")] = None,
    dev: Annotated[Path | None, typer.Option(metavar="FILE", help="What choices are made on.")] = None,
    version: Annotated[str | None, typer.Option(metavar="ID", help="Of the full version [1, or as it is].")] = None,
    name: Annotated[list[str] | None, typer.Option("--as", metavar="NAME", help="A variant's id, in order.")] = None,
    task: Annotated[
        Literal["classification", "regression", "embedding"] | None, typer.Option(help="[as the test file tells]")
    ] = None,
    output: Annotated[str | None, typer.Option(metavar="NAME", help="What is judged [the only one].")] = None,
    profile: Annotated[Literal["default", "strict"], typer.Option(help="How strict the gate is.")] = "default",
    until_pass: Annotated[bool, typer.Option("--until-pass", help="Climb the recipe's ladder.")] = False,
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Add this machine to the cards.")] = False,
    runs: Annotated[int, typer.Option(min=5, help="Timed runs a batch size.")] = 300,
    threads: Annotated[int, typer.Option(min=1, help="Of the runtime.")] = 1,
    run_timeout: Annotated[float | None, typer.Option(min=0.1, metavar="SECONDS", help="Of one run [300].")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the recipes' own.")] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Of model and data, for the card.")] = "not stated",
    ledger: Annotated[Path | None, typer.Option(metavar="FILE", help="See above.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines, on stdout.")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="Show the recipes that come with it.")] = False,
) -> None:
    """See `HELP`."""
    refuse_without("compress", FILES)
    if list_recipes:
        raise typer.Exit(_list(as_json))
    if model is None:
        raise typer.BadParameter("an ONNX file or a version's folder is expected", param_hint="INPUT")
    from models.bounded import RUN_TIMEOUT_S  # noqa: PLC0415
    from models.order import Files, How  # noqa: PLC0415

    files = Files(calibration, dev, test)
    how = How(task, output, profile, until_pass, runs, threads, licence, ledger, run_timeout or RUN_TIMEOUT_S)
    if remeasure:
        with ended_by_ctrl_c(_tell_interrupted):
            raise typer.Exit(_remeasure(model, test, how, as_json))
    if publish is None or not recipe:
        raise _needed(publish)
    plans = _plans(recipe, seed)
    with ended_by_ctrl_c(_tell_interrupted):
        raise typer.Exit(_run(_job(model, publish, files, how, plans, name or [], version), as_json))


def _needed(publish: Path | None) -> typer.BadParameter:
    if publish is None:
        return typer.BadParameter(
            "is needed: the folder REPOSITORY/MODEL that the versions go to", param_hint="--publish"
        )
    return typer.BadParameter("is needed; `retort compress --list` shows the recipes", param_hint="--recipe")


def _plans(names: list[str], seed: int | None) -> list[Plan]:
    from dataclasses import replace  # noqa: PLC0415

    from models.recipes.reading import BadRecipe, find  # noqa: PLC0415

    try:
        plans = [find(name) for name in names]
    except BadRecipe as error:
        _give_up(str(error))
    return plans if seed is None else [replace(plan, seed=seed) for plan in plans]


def _job(
    model: Path, publish: Path, files: Files, how: How, plans: list[Plan], names: list[str], version: str | None
) -> Job:
    from models.data.npz_files import BadData  # noqa: PLC0415
    from models.order import BadOrder, prepare  # noqa: PLC0415
    from models.publish import AlreadyPublished  # noqa: PLC0415
    from models.source import BadSource  # noqa: PLC0415

    try:
        return prepare(model, publish, files, how, plans, names, version)
    except (BadSource, BadData, BadOrder, AlreadyPublished, OSError) as error:
        _give_up(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _run(job: Job, as_json: bool) -> int:
    from rich.console import Console  # noqa: PLC0415

    from models.commands import compress_table  # noqa: PLC0415
    from models.compressing import publish_full, publish_variants  # noqa: PLC0415
    from service.core.errors import RetortError  # noqa: PLC0415

    outcomes: list[Outcome] = []
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    ended = None
    with _Steps(errors) as steps:
        try:
            full = publish_full(job, steps.show)
            for outcome in publish_variants(job, full, steps.show):
                outcomes.append(outcome)
                steps.say(compress_table.sentence(outcome))
        except KeyboardInterrupt:
            ended = INTERRUPTED
        except (RetortError, OSError, ValueError, MemoryError) as error:
            steps.say(f"retort: {_ended(str(error) or 'there is not enough memory')}")
            ended = ERROR
    if outcomes:
        typer.echo(compress_table.as_json(job, full, outcomes) if as_json else compress_table.as_text(full, outcomes))
    if ended is not None:
        _tell_ended(job, outcomes, errors)
        return ended
    return _exit_code(outcomes)


def _remeasure(path: Path, test: Path | None, how: How, as_json: bool) -> int:
    from models.commands import compress_table  # noqa: PLC0415
    from models.remeasuring import Again, remeasure  # noqa: PLC0415
    from service.core.errors import RetortError  # noqa: PLC0415

    if test is None:
        raise typer.BadParameter("is needed with --remeasure, which measures on it", param_hint="--test")
    done: list[Again] = []
    try:
        for again in remeasure(path, test, how):
            done.append(again)
            typer.echo(f"{again.after.version}: its card has this machine's figures", err=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (RetortError, OSError, ValueError) as error:
        _give_up(_ended(str(error)))
    finally:
        if done:
            typer.echo(compress_table.remeasured_json(done) if as_json else compress_table.remeasured_text(done))
    return 0 if all(again.after.verdict in ("pass", None) for again in done) else FAILED


def _exit_code(outcomes: list[Outcome]) -> int:
    verdicts = [None if one.published is None else one.published.card.verdict for one in outcomes]
    if any(verdict not in ("pass", None) for verdict in verdicts):
        return FAILED
    return ERROR if None in verdicts else 0


def _tell_ended(job: Job, outcomes: list[Outcome], errors: Console) -> None:
    done = [one.wanted.version for one in outcomes if one.published is not None]
    left = [one.version for one in job.wanted if one not in [done.wanted for done in outcomes]]
    errors.print(f"published: {', '.join(done) or 'no variant'}; not made: {', '.join(left) or 'none'}.")


def _tell_interrupted() -> None:
    """Where a library's call does not come back: nothing but this can be told then."""
    typer.echo("retort: interrupted within a run that did not end; what was finished is published.", err=True)


def _list(as_json: bool) -> int:
    import json  # noqa: PLC0415

    from models.recipes import reading  # noqa: PLC0415

    plans = [reading.named(name) for name in reading.names()]
    if as_json:
        typer.echo(json.dumps([{"name": plan.name, "summary": plan.summary} for plan in plans], indent=2))
        return 0
    width = max(len(plan.name) for plan in plans)
    for plan in plans:
        typer.echo(f"{plan.name:<{width}}  {plan.summary}")
    return 0


class _Steps:
    """Shows the step in work: a spinner on a terminal, a line each elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("reading") if console.is_terminal else None

    def __enter__(self) -> _Steps:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *ended: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, step: str) -> None:
        """What is in work now."""
        if self._status is None:
            self.say(step)
        else:
            self._status.update(step)

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, markup=False)


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith(("?", ".")) else f"{sentence}."


def _give_up(sentence: str) -> NoReturn:
    typer.echo(f"retort: {sentence}", err=True)
    raise typer.Exit(ERROR)
