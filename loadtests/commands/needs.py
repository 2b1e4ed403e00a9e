"""Says in one sentence what a command of the load tests lacks, where only the service is installed."""

from __future__ import annotations

from importlib.util import find_spec

import typer

CANNOT = 1
PACKAGES = ("httpx", "jinja2", "matplotlib", "psutil", "scipy")


def refuse_without(command: str, packages: tuple[str, ...] = PACKAGES) -> None:
    """Ends the command with exit code 1 where a package is not installed; nothing is imported to find that out."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        typer.echo(
            f"retort: {command} needs {', '.join(missing)}: run `make workshop`, or install retort's extra 'loadtest'.",
            err=True,
        )
        raise typer.Exit(CANNOT)
