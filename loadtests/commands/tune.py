"""`retort tune`: the settings under which a model meets an objective best on this machine, found by measurement."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from loadtests.commands.cores import parse_cores
from loadtests.commands.ending import ended_as_by_ctrl_c
from loadtests.commands.needs import refuse_without

if TYPE_CHECKING:
    from loadtests.tune.found import Found
    from loadtests.tune.order import Order

HELP = """Find the best settings of a model on this machine.

Batch limit, queueing delay, instances and threads, by a measured search.

Starts servers of its own on copies of the model's folder, one for each candidate, on free ports of the loopback
address; sends them the same open-loop traffic in turn, and drops the worse half until one is left. That one is held
against the present configuration in fresh rounds. Only a difference that its 95 % interval shows changes model.yaml.
One core is kept for the generator, the servers get the others, or those of --server-cores: nothing else should run
meanwhile. Of what the best one changes, only the keys that matter are kept.

\b
Examples:
  retort tune digits --slo-p99-ms 10
  retort tune digits --repository models/repository --objective latency --rate 200 --write
  retort tune digits --objective goodput --rate 2000 --budget 300 --out tuned

Prints the model.yaml that was found, or writes it with --write; comments and other keys stay.

\b
Exit codes:
  0    finished, whether a better configuration was found or not
  1    it could not be done: no such model, a server that does not start, a bad file
  2    a mistyped option
  4    the run is invalid: the generator was late
  130  interrupted (Ctrl-C, SIGTERM); what was measured is printed, nothing is written
"""

CANNOT, INVALID, INTERRUPTED = 1, 4, 130
MOST_RATE = 20_000.0  # what one generator offers

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command("tune", help=HELP)
def tune(  # noqa: PLR0913, PLR0917 - one parameter an option
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.", show_default=False)],
    repository: Annotated[Path, typer.Option(metavar="DIR", exists=True, file_okay=False, help="Where it is.")] = Path(
        "models/repository"
    ),
    version: Annotated[str, typer.Option(help="The version that is tuned; its settings are all versions'.")] = "",
    slo_p99_ms: Annotated[float, typer.Option(min=0.1, help="An answer after that is late.")] = 10.0,
    objective: Annotated[
        Literal["throughput", "latency", "goodput"],
        typer.Option(help="The rate carried in time; p99 at a rate; answers in time at a rate."),
    ] = "throughput",
    rate: Annotated[
        float | None, typer.Option(min=1, max=MOST_RATE, help="Requests a second, for latency and goodput.")
    ] = None,
    budget: Annotated[float, typer.Option(min=20, metavar="SECONDS", help="For all of it.")] = 180.0,
    data: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, metavar="FILE.npz", help="Rows.")] = None,
    out: Annotated[Path | None, typer.Option(file_okay=False, help="For tune.json and model.yaml.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Change the repository's model.yaml.")] = False,
    server_cores: Annotated[str, typer.Option(metavar="0,1", help="The servers' [all but the last].")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
) -> None:
    """See `HELP`."""
    refuse_without("tune")
    from loadtests.tune.order import Order  # noqa: PLC0415

    folder = repository / model
    if not folder.is_dir():
        _give_up(f"there is no model {model!r} in {repository}.")
    if version and not (folder / version).is_dir():
        _give_up(f"model {model!r} has no version {version!r} in {repository}.")
    if rate is not None and objective == "throughput":
        raise typer.BadParameter(
            "throughput looks for the rate itself: ask for latency or goodput", param_hint="--rate"
        )
    servers, generator = _cores(parse_cores(server_cores, "--server-cores"))
    order = Order(folder, version, objective, slo_p99_ms, rate, budget, data, servers, generator, seed)
    found = _run(order)
    _finish(order, found, out, write)


def _run(order: Order) -> Found:
    from loadtests.failures import FAILURES  # noqa: PLC0415
    from loadtests.tune.model_yaml import BadYaml  # noqa: PLC0415
    from loadtests.tune.search import search  # noqa: PLC0415

    try:
        with ended_as_by_ctrl_c():
            return search(order, tell=lambda sentence: typer.echo(f"retort: {sentence}", err=True))
    except KeyboardInterrupt:
        typer.echo("retort: interrupted before anything was measured.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (*FAILURES, BadYaml) as error:
        _give_up(str(error))
        raise  # never reached: it exits


def _finish(order: Order, found: Found, out: Path | None, write: bool) -> None:
    from loadtests.tune.model_yaml import edited, replace_file  # noqa: PLC0415
    from loadtests.tune.settings import PRESENT  # noqa: PLC0415
    from loadtests.tune.telling import as_document, table, verdict  # noqa: PLC0415

    takes = found.better and found.complete and found.valid
    text = edited(order.yaml(), found.best if takes else PRESENT)
    typer.echo(table(found))
    typer.echo(verdict(found))
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            document: dict[str, Any] = as_document(found, order)
            (out / "tune.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            (out / "model.yaml").write_text(text, encoding="utf-8")
        if write and takes:
            replace_file(order.folder / "model.yaml", text)
    except OSError as error:
        _give_up(f"what was found cannot be written: {error}.")
    if write and takes:
        typer.echo(f"written: {order.folder / 'model.yaml'}")
    elif takes:
        typer.echo(f"\n{text}", nl=False)
    raise typer.Exit(INTERRUPTED if not found.complete else 0 if found.valid else INVALID)


def _cores(asked: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Those of the servers, and the generator's: the last that is left to it, else it shares the last of all."""
    usable = sorted(os.sched_getaffinity(0))
    if not asked and len(usable) == 1:
        return (), ()
    servers = asked or tuple(usable[:-1])
    return servers, (max(set(usable) - set(servers), default=usable[-1]),)


def _give_up(sentence: str) -> None:
    typer.echo(f"retort: {sentence}", err=True)
    raise typer.Exit(CANNOT)
