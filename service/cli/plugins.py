"""Commands that other packages add through the entry points "retort.commands" (command = "module:app").

The object is a typer app that has the command of that name. It is imported only when its command is asked for, or
when all commands are to be listed; one that cannot be imported is a warning, and harms no other command.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "retort.commands"


def installed() -> Iterable[EntryPoint]:
    """The plug-ins of this environment, by name, none of them imported."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and our own commands need it not

    return sorted(entry_points(group=GROUP))


def add_plugins(app: typer.Typer, asked: str, points: Iterable[EntryPoint]) -> list[str]:
    """Adds the plug-in of the command `asked` to `app`, or all of them where none has that command.

    Returns:
        A sentence for each one that could not be loaded.
    """
    points = list(points)
    wanted = [point for point in points if point.name == asked] or points
    return [problem for point in wanted if (problem := _add(app, point))]


def _add(app: typer.Typer, point: EntryPoint) -> str:
    try:
        plugin = point.load()
    except Exception as error:  # whatever a foreign module may raise when it is imported
        return f"the command {point.name!r} cannot be loaded from {point.value}: {error}."
    if not isinstance(plugin, typer.Typer):
        return f"the command {point.name!r} cannot be loaded: {point.value} is no typer app."
    app.add_typer(plugin)
    return ""
