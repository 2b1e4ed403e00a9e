"""Cores as they are named on a command line."""

from __future__ import annotations

import os

import typer


def parse_cores(text: str, option: str) -> tuple[int, ...]:
    """The cores of a list such as `0,1`; none for an empty one.

    Raises:
        BadParameter: it is no list of cores that this process may use.
    """
    try:
        cores = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of cores such as 1 or 2,3", param_hint=option) from None
    missing = set(cores) - os.sched_getaffinity(0)
    if missing:
        raise typer.BadParameter(f"there is no core {min(missing)} for this process", param_hint=option)
    return cores
