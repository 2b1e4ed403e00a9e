"""`retort compare`: versions of a model under one traffic, at one server or several, and which one to ship."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from loadtests.commands.cores import parse_cores
from loadtests.commands.ending import ended_as_by_ctrl_c
from loadtests.commands.needs import refuse_without

if TYPE_CHECKING:
    from loadtests.order import Order
    from loadtests.outcome import Outcome
    from loadtests.requirements import Requirement
    from loadtests.scenario import Scenario

HELP = """Say which of a model's versions to ship, under load.

Versions meet the same traffic in turn, and are told apart by paired differences with their intervals.

Requests are sent when they are due, whatever became of those before them, and latency counts from that moment. The
versions take turns in short blocks in random order, so that a slow spell of the machine falls on all of them. With
an objective (--slo-p99-ms) the highest rate that meets it is looked for, version by version.

\b
Examples:
  retort compare digits --versions 1,1-int8 --slo-p99-ms 10
  retort compare digits --versions 1,1-int8 --rate 200 --duration 20 --out report
  retort compare digits --versions 1,1-int8 --rate 200 --require "p99 <= 0.8x" --require "agreement >= 0.98"
  retort compare digits --rate 300 --scenario swap
  retort compare digits --rate 200 --arrivals trace --trace requests.txt
  retort compare digits --versions 1 --rate 100 --url http://127.0.0.1:8000 --url http://127.0.0.1:9000
  retort compare --list

\b
Exit codes:
  0    compared, and every requirement is met
  1    it could not be done: no server, no such version, a bad file
  2    a mistyped option
  4    the run is invalid: the generator was late, no rate meets the objective, or the server ended
  5    a requirement is not met
  130  interrupted (Ctrl-C, SIGTERM); what was measured until then is reported
"""

CANNOT, INVALID, NOT_MET, INTERRUPTED = 1, 4, 5, 130
MOST_RATE = 20_000.0
DEFAULT_URL, DEFAULT_GRPC = "http://127.0.0.1:8000", "127.0.0.1:8001"
# What --arrivals names beside how times are drawn: a shape, which is a scenario's.
_SHAPES = {"burst": "burst", "step": "ramp", "trace": "trace"}

Arrivals = Literal["poisson", "constant", "burst", "step", "trace"]

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command("compare", help=HELP)
def compare(  # noqa: PLR0913 - a command line
    model: Annotated[str, typer.Argument(help="The model's name.")] = "",
    *,
    versions: Annotated[str, typer.Option(metavar="A,B", help="Ids, the full one first [all].")] = "",
    url: Annotated[list[str] | None, typer.Option(envvar="RETORT_URL", help="May be given again.")] = None,
    grpc_url: Annotated[list[str] | None, typer.Option(metavar="HOST:PORT", help="One for each --url.")] = None,
    key: Annotated[str | None, typer.Option(envvar="RETORT_KEY", help="Sent as a bearer token.")] = None,
    ca: Annotated[
        Path | None, typer.Option(envvar="RETORT_CA", metavar="FILE", help="Trusted over https, as PEM [the system's].")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Rows to send; `labels` if known.")] = None,
    arrivals: Annotated[Arrivals, typer.Option(help="When requests come.")] = "poisson",
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Requests in each second, recorded.")] = None,
    scenario: Annotated[str, typer.Option(metavar="NAME|FILE", help="See --list [steady].")] = "",
    rate: Annotated[float | None, typer.Option(help="Requests a second [0.7 of the lowest knee].")] = None,
    find_knee: Annotated[bool, typer.Option("--find-knee", help="Look for the knees though --rate is given.")] = False,
    slo_p99_ms: Annotated[float | None, typer.Option(help="The objective.")] = None,
    duration: Annotated[float, typer.Option(help="Seconds of the comparison, for each version.")] = 30.0,
    encoding: Annotated[Literal["binary", "json", "grpc"], typer.Option(help="Of requests.")] = "binary",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="For report.json, report.html, pictures.")
    ] = None,
    require: Annotated[list[str] | None, typer.Option(metavar="EXPR", help="May be given again.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    cores: Annotated[str, typer.Option(metavar="0,1", help="The generator's own [any].")] = "",
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios, and end.")] = False,
) -> None:
    """See `HELP`."""
    if list_:
        _list_scenarios()
        return
    if not model:
        raise typer.BadParameter("name the model", param_hint="MODEL")
    refuse_without("compare")
    drawn, chosen, named = _traffic(arrivals, scenario, trace)
    _check(rate, slo_p99_ms, duration, find_knee)
    urls = tuple(one.rstrip("/") for one in url or [DEFAULT_URL])
    from loadtests.order import Order  # noqa: PLC0415

    order = Order(
        model=model,
        versions=tuple(part.strip() for part in versions.split(",") if part.strip()),
        urls=urls,
        grpc=_grpc(urls, grpc_url or [], encoding),
        scenario=chosen,
        scenario_name=named,
        key=key,
        ca=ca,
        data=data,
        arrivals=drawn,
        trace=trace,
        rate=rate,
        find_knee=find_knee,
        limit_ms=slo_p99_ms,
        duration_s=duration,
        encoding=encoding,
        requirements=tuple(_requirement(text) for text in require or []),
        seed=seed,
        cores=parse_cores(cores, "--cores"),
        command=_command(key),
    )
    outcome = _run(order)
    _report(outcome, out)
    raise typer.Exit(exit_code(outcome))


def exit_code(outcome: Outcome) -> int:
    """What a pipeline is told: an invalid run before a requirement that is not met, an interruption before both."""
    if outcome.interrupted:
        return INTERRUPTED
    if not outcome.valid:
        return INVALID
    return 0 if all(one.met for one in outcome.asked) else NOT_MET


def _run(order: Order) -> Outcome:
    from loadtests.failures import FAILURES  # noqa: PLC0415
    from loadtests.progress import Shown  # noqa: PLC0415
    from loadtests.run import run  # noqa: PLC0415

    try:
        with ended_as_by_ctrl_c(), Shown() as shown:
            return run(order, shown)
    except FAILURES as error:
        _give_up(str(error))
    except KeyboardInterrupt:
        typer.echo("retort: interrupted before anything was measured.", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _report(outcome: Outcome, out: Path | None) -> None:
    from loadtests.report.document import document  # noqa: PLC0415
    from loadtests.report.files import write  # noqa: PLC0415
    from loadtests.report.table import print_report  # noqa: PLC0415

    found = document(outcome)
    print_report(found)
    if out is None:
        return
    try:
        write(found, out)
    except OSError as error:
        _give_up(f"the report cannot be written: {error}.")
    typer.echo(f"report: {out / 'report.html'}")


def _traffic(
    arrivals: Arrivals, scenario: str, trace: Path | None
) -> tuple[Literal["poisson", "constant"], Scenario, str]:
    """How times are drawn, and the scenario: the one that is named, else the one that the arrivals name."""
    from loadtests.scenario import BadScenario, read_scenario  # noqa: PLC0415

    if scenario and arrivals in _SHAPES:
        raise typer.BadParameter(f"{arrivals!r} is a scenario itself; leave --scenario out", param_hint="--arrivals")
    name = scenario or _SHAPES.get(arrivals, "trace" if trace else "steady")
    try:
        chosen = read_scenario(name)
    except BadScenario as error:
        raise typer.BadParameter(str(error), param_hint="--scenario") from None
    if arrivals == "step":
        chosen = chosen.model_copy(update={"times_knee": None})
    if (chosen.shape == "trace") != (trace is not None):
        raise typer.BadParameter("a trace is replayed by --arrivals trace with --trace FILE", param_hint="--trace")
    return ("constant" if arrivals == "constant" else "poisson"), chosen, Path(name).stem


def _check(rate: float | None, limit_ms: float | None, duration: float, find_knee: bool) -> None:
    for value, name in ((rate, "--rate"), (limit_ms, "--slo-p99-ms"), (duration, "--duration")):
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"{value:g} is not above 0", param_hint=name)
    if rate is not None and rate > MOST_RATE:
        raise typer.BadParameter(f"one generator offers {MOST_RATE:.0f} requests a second at most", param_hint="--rate")
    if limit_ms is None and (rate is None or find_knee):
        wanted = "is needed, as a knee is the highest rate that meets an objective" + ("" if rate else "; or a --rate")
        raise typer.BadParameter(wanted, param_hint="--slo-p99-ms")


def _grpc(urls: tuple[str, ...], given: list[str], encoding: str) -> tuple[str, ...]:
    if encoding != "grpc":
        return ()
    addresses = tuple(given) or ((DEFAULT_GRPC,) if urls == (DEFAULT_URL,) else ())
    if len(addresses) != len(urls):
        raise typer.BadParameter("gRPC needs a HOST:PORT for each --url, in their order", param_hint="--grpc-url")
    for address in addresses:
        if "/" in address or not address.rpartition(":")[2].isdigit():
            raise typer.BadParameter(f"{address!r} is no HOST:PORT", param_hint="--grpc-url")
    return addresses


def _requirement(text: str) -> Requirement:
    from loadtests.requirements import BadRequirement, requirement  # noqa: PLC0415

    try:
        return requirement(text)
    except BadRequirement as error:
        raise typer.BadParameter(str(error), param_hint="--require") from None


def _command(key: str | None) -> str:
    """As it was written, without the key."""
    words = ["retort", *sys.argv[1:]]
    return shlex.join(word.replace(key, "...") if key else word for word in words)


def _list_scenarios() -> None:
    from loadtests.scenario import names, read_scenario  # noqa: PLC0415

    for name in names():
        typer.echo(f"{name:<14}{read_scenario(name).summary}")


def _give_up(sentence: str) -> None:
    typer.echo(f"retort: {sentence.rstrip('.')}.", err=True)
    raise typer.Exit(CANNOT)
