"""The options that every command which talks to a server has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DEFAULT_URL = "http://127.0.0.1:8000"

Url: TypeAlias = Annotated[str, typer.Option("--url", envvar="RETORT_URL", help="Where the server listens.")]
Key: TypeAlias = Annotated[
    str | None, typer.Option("--key", envvar="RETORT_KEY", show_default=False, help="Sent as a bearer token.")
]
Ca: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="RETORT_CA",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        show_default=False,
        help="Whose certificates are trusted over https, as PEM [the system's].",
    ),
]
Model: TypeAlias = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.", show_default=False)]
