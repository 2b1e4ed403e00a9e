"""`retort models`: every version of every model of a running server, with what its card says in short."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from service.cli.client import Client, model_path
from service.cli.options import DEFAULT_URL, Ca, Key, Url
from service.core.words import share, size

HELP = """List every version of every model.

\b
Examples:
  retort models
  retort models --json | jq '.[] | select(.active)'

Prints a table of their states and of what their cards say in short; `*` marks the version that answers when none is
named. Accuracy and agreement with the full version are those that the card measured on the server's kind of machine.
Why a version, or a whole model, is FAILED is said on standard error. With --json: a list of objects with the same
fields, and `reason`.

\b
Exit codes:
  0  printed
  1  the server refused, or does not answer
  2  a mistyped option
"""

_COLUMNS = ("model", "version", "state", "active", "variant_of", "size", "accuracy", "agreement", "verdict")


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    ca: Ca = None,
) -> None:
    """See `HELP`."""
    client = Client(url, key, ca)
    index = client.post("/v2/repository/index", {})
    names = sorted({entry["name"] for entry in index})
    versions = [version for name in names for version in client.get(model_path("/v2", name) + "/versions")["versions"]]
    versions += [_without_versions(entry) for entry in index if not entry["version"]]
    if as_json:
        typer.echo(json.dumps(versions, indent=2))
    else:
        typer.echo("\n".join(_table(versions)))
        for version in versions:
            if version["state"] == "FAILED":
                named = f"{version['model']} {version['version']}".rstrip()
                typer.echo(f"retort: warning: {named}: {version['reason']}", err=True)


def _without_versions(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A model that could not even be listed, as a version without an id."""
    unknown = dict.fromkeys(("variant_of", "bytes", "accuracy", "agreement", "verdict"))
    reason = entry.get("reason", "")
    return {"model": entry["name"], "version": "", "state": "FAILED", "reason": reason, "active": False, **unknown}


def row(version: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of one version, in the order of the columns; "-" where nothing is known."""
    return (
        version["model"],
        version["version"] or "-",
        version["state"],
        "*" if version["active"] else "",
        version["variant_of"] or "-",
        size(version["bytes"]),
        share(version["accuracy"]),
        share(version["agreement"]),
        version["verdict"] or "-",
    )


def _table(versions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for the header and one for each version, in columns as wide as their widest cell."""
    rows = [_COLUMNS, *map(row, versions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
