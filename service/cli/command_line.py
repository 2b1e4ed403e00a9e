"""The commands of `retort`, its plug-ins, and how it ends.

Every command ends with 0 when it did what was asked, with 1 after a sentence on standard error when it did not, and
with 2 when an option or argument was mistyped. What it needs beyond typer it imports when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from service.cli import check, infer, key, models, rollback, serve, swap
from service.cli.failure import Failure
from service.cli.plugins import add_plugins, installed

HELP = """Serve ONNX models and their compressed variants, and swap them under traffic.

\b
Start a server, ask it something, make the int8 variant answer instead:
  retort serve --repository models/repository
  retort infer digits rows.npz
  retort swap digits 1-int8

\b
Exit codes of every command:
  0  it did what was asked
  1  it did not; a sentence on standard error says why
  2  an option or argument was mistyped
"""

_COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "serve": (serve.serve, serve.HELP),
    "check": (check.check, check.HELP),
    "models": (models.models, models.HELP),
    "infer": (infer.infer, infer.HELP),
    "swap": (swap.swap, swap.HELP),
    "rollback": (rollback.rollback, rollback.HELP),
    "key": (key.key, key.HELP),
}


def main() -> None:
    """Runs the command line of this process, and ends it."""
    words = sys.argv[1:]
    asked = words[0] if words else ""
    app = _build()
    for problem in [] if asked in _COMMANDS else add_plugins(app, asked, installed()):
        typer.echo(f"retort: warning: {problem}", err=True)
    try:
        app(words, prog_name="retort")
    except Failure as failure:
        typer.echo(f"retort: {failure}", err=True)
        sys.exit(1)


def _build() -> typer.Typer:
    app = typer.Typer(
        help=HELP,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=HELP)(_before)
    for name, (command, text) in _COMMANDS.items():
        app.command(name, help=text)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - slow to import

        typer.echo(f"retort {version('retort')}")
        raise typer.Exit


def _before(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
) -> None:
    """The options that stand before the command."""
