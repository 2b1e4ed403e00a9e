"""`retort conformance`: holds any server of the Open Inference Protocol v2 against the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.check import Result
    from conformance.report import Report

HELP = """Hold any server against the Open Inference Protocol v2.

Each normative sentence is a check; inputs are made up from the models' metadata, so any model will do. Extension
checks run where the server lists the extension. The profile strict wants every MUST and SHOULD; relaxed wants every
MUST, and lets known dialects pass with a note.

\b
Examples:
  retort conformance --url http://127.0.0.1:8000
  retort conformance --url http://127.0.0.1:8000 --grpc-url 127.0.0.1:8001 --model digits --report report.html

\b
Exit codes:
  0  conforms
  1  no server answers, or it has no model to ask
  2  a mistyped option
  6  does not conform, or the run was interrupted
"""

CANNOT, NOT_CONFORMING = 1, 6

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


@app.command("conformance", help=HELP)
def conformance(
    url: Annotated[str, typer.Option(envvar="RETORT_URL", help="The server's URL.")] = "http://127.0.0.1:8000",
    grpc_url: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Its gRPC; left out without.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="May be given again [every ready model].")] = None,
    profile: Annotated[Literal["strict", "relaxed"], typer.Option(help="What must hold.")] = "strict",
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Written as .json, .html or .md.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Written as JUnit's XML.")] = None,
    key: Annotated[str | None, typer.Option(envvar="RETORT_KEY", help="Sent as a bearer token.")] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="RETORT_CA",
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Trusted over TLS, PEM [the system's].",
        ),
    ] = None,
) -> None:
    """See `HELP`."""
    from conformance.report import WRITERS, as_junit  # noqa: PLC0415

    if report is not None and report.suffix not in WRITERS:
        raise typer.BadParameter(f"{report} must end with one of {', '.join(WRITERS)}", param_hint="--report")
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} must begin with http:// or https://", param_hint="--url")
    if grpc_url is not None and ("/" in grpc_url or not grpc_url.rpartition(":")[2].isdigit()):
        raise typer.BadParameter(f"{grpc_url!r} is no HOST:PORT", param_hint="--grpc-url")
    found = _run(url, grpc_url, model or [], profile, key, ca)
    try:
        if report is not None:
            report.write_text(WRITERS[report.suffix](found), encoding="utf-8")
        if junit is not None:
            junit.write_text(as_junit(found), encoding="utf-8")
    except OSError as error:
        _give_up(f"the report cannot be written: {error}.")
    _print(found)
    raise typer.Exit(0 if found.conforms else NOT_CONFORMING)


def _run(
    url: str,
    grpc_url: str | None,
    models: list[str],
    profile: Literal["strict", "relaxed"],
    key: str | None,
    ca: Path | None,
) -> Report:
    import ssl  # noqa: PLC0415

    import httpx  # noqa: PLC0415

    from conformance.report import Report  # noqa: PLC0415
    from conformance.suite import count_checks, ready_models, run_suite  # noqa: PLC0415
    from conformance.target import Unreachable, open_http  # noqa: PLC0415

    results: list[Result] = []
    complete = True
    authorities = ca.read_bytes() if ca else None
    try:
        client = open_http(url, {"Authorization": f"Bearer {key}"} if key else {}, authorities)
    except (ssl.SSLError, UnicodeDecodeError):
        _give_up(f"{ca} holds no certificates in PEM form.")
    with client as http:
        try:
            names = models or ready_models(http)
            if not names:
                _give_up("the server lists no ready model: name one with --model.")
            _collect(run_suite(http, grpc_url, names, profile, authorities), count_checks(len(names)), results)
        except KeyboardInterrupt:
            complete = False
        except (Unreachable, httpx.HTTPError, httpx.InvalidURL) as error:
            _give_up(f"{str(error).rstrip('.')}.")
    return Report(url, profile, complete, results)


def _collect(running: Iterator[Result], checks: int, results: list[Result]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("checks", total=checks)
        for result in running:
            results.append(result)
            progress.update(task, advance=1, description=result.check.id)


def _print(report: Report) -> None:
    for result in report.results:
        if result.status == "failed":
            where = f" ({result.model})" if result.model else ""
            typer.echo(f"failed {result.check.level} {result.check.id}{where}: {result.seen}")
    typer.echo(f"{'level':<10}{'passed':>8}{'failed':>8}{'skipped':>9}")
    for level, counts in report.counts().items():
        typer.echo(f"{level:<10}{counts['passed']:>8}{counts['failed']:>8}{counts['skipped']:>9}")
    if not report.complete:
        typer.echo("interrupted: the checks after this did not run")
    typer.echo(f"{report.url} {'conforms' if report.conforms else 'does not conform'} ({report.profile})")


def _give_up(sentence: str) -> NoReturn:
    typer.echo(f"retort: {sentence}", err=True)
    raise typer.Exit(CANNOT)
