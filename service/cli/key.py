"""`retort key`: a new key, and the line of the file of keys that knows it."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

import typer

HELP = """Make a key, and the line for the server's file of keys.

The key goes to standard error, once and for its holder alone; the line, which holds only its SHA-256, to standard
output. Nothing is kept.

\b
Examples:
  retort key web >> keys.txt
  retort key deploy --scope admin >> keys.txt
  retort key mobile --rate 50 --burst 100 >> keys.txt

Scopes: infer (inference and what is to be read of models), metrics (the scrape), admin (everything).

\b
Exit codes:
  0  done
  2  a mistyped option
"""

_PREFIX = "retort_"  # by which scanners for lost secrets can tell it
_BYTES = 32


def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its holder's, for logs and metrics.")],
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", help="infer, metrics or admin; may be given again [infer].")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second at most [any number].")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once after a pause [the rate].")] = None,
) -> None:
    """See `HELP`."""
    if name.split() != [name]:
        raise typer.BadParameter("the name must be one word")
    made = _PREFIX + secrets.token_urlsafe(_BYTES)
    options = {"rate": None if rate is None else f"{rate:.6f}".rstrip("0").rstrip("."), "burst": burst}
    words = [name, ",".join(scope or ["infer"]), f"sha256:{hashlib.sha256(made.encode()).hexdigest()}"]
    line = " ".join([*words, *(f"{option}={value}" for option, value in options.items() if value is not None)])
    _check(line)
    typer.echo(line)
    typer.echo(made, err=True)


def _check(line: str) -> None:
    from service.gateway.key_file import KeysRefused, read_keys  # noqa: PLC0415 - the gateway's own reader

    try:
        read_keys(line)
    except KeysRefused as error:
        raise typer.BadParameter(str(error).removeprefix("line 1: ")) from None
