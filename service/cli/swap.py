"""`retort swap`: another version of a model becomes the active one, under traffic."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli.client import Client, model_path
from service.cli.options import DEFAULT_URL, Ca, Key, Model, Url
from service.cli.report import print_report

HELP = """Make another version the active one, under traffic.

The server loads it beside the old one if need be, holds it against its card's verdict and its golden cases, warms it,
exchanges the two and lets the old one finish what it has begun. No request fails. A version that is refused changes
nothing.

\b
Examples:
  retort swap digits 1-int8
  retort swap digits 1-int8 --watch-s 60 --max-error-rate 0.01

Prints what was exchanged, how long it took, and what was checked.

\b
Exit codes:
  0  the version is active
  1  it is not: refused by the gate or the golden cases, unknown, not loadable
  2  a mistyped option
"""


def swap(
    model: Model,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version's id, such as 1-int8.")],
    force: Annotated[bool, typer.Option("--force", help="Override the gate's verdict, and nothing else.")] = False,
    watch_s: Annotated[
        float | None, typer.Option(min=0.001, help="Watch the new version for so many seconds.", show_default=False)
    ] = None,
    max_error_rate: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="While watching, swap back above this share of errors.", show_default=False),
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    ca: Ca = None,
) -> None:
    """See `HELP`."""
    if max_error_rate is not None and watch_s is None:
        raise typer.BadParameter("--max-error-rate needs --watch-s, the seconds to watch for")
    body: dict[str, object] = {"version": version, "force": force}
    watch = {"watch_s": watch_s, "max_error_rate": max_error_rate}
    body.update({name: value for name, value in watch.items() if value is not None})
    print_report(Client(url, key, ca).post(model_path("/v2/repository", model) + "/swap", body))
