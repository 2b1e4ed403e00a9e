"""`retort check`: is everything in a repository fit to be served here? Loads each version as the server would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.failure import Failure
from service.cli.server_settings import read_settings, refuse_model_folder

if TYPE_CHECKING:
    from service.repository.layout import Source
    from service.repository.model_config import ModelConfig
    from service.serving.loader import Loader
    from service.serving.servable import Servable
    from service.settings import Settings

HELP = """Say which versions of a repository cannot be served, and why.

Each version is loaded as the server would: held against the hashes of its card, tried in a child process under the
limits of the settings, loaded, and run on its golden cases. No server need run, and nothing is written.

\b
Example:
  retort check models/repository

Prints a line for each version: ok, and what its golden cases showed, or why it cannot be served; and one for a model
that has no version, or whose model.yaml or config.pbtxt names one that it does not have.

\b
Exit codes:
  0  every version can be served
  1  at least one cannot, or there is none
  2  a mistyped option
"""


def check(
    repository: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The folder of models.")
    ],
) -> None:
    """See `HELP`."""
    import asyncio  # noqa: PLC0415 - a twentieth of a second that other commands need not pay

    settings = read_settings({"repository": (repository,)})
    refuse_model_folder(repository)
    total, broken = asyncio.run(_check_all(settings.model_copy(update={"state_dir": None})))
    if total == 0:
        raise Failure(f"{repository} holds no version of any model: it must hold MODEL/VERSION/model.onnx.")
    if broken:
        raise Failure(f"{broken} of {total} versions cannot be served.")


async def _check_all(settings: Settings) -> tuple[int, int]:
    """Prints a line for each version; how many there are, and how many cannot be served."""
    from service.core.errors import RetortError  # noqa: PLC0415

    source, loader = _parts(settings)
    total = broken = 0
    for model in source.models():
        try:
            versions = source.versions(model)
        except RetortError as error:  # a folder that nobody may open hides no other
            typer.echo(f"{model}: {error}")
            total, broken = total + 1, broken + 1
            continue
        config = _config_of(source, model) if versions else None
        absent = config.absent(versions) if config else []
        unserved = config is not None and config.active in absent
        if not versions:
            typer.echo(f"{model}: {_why_none(source, model)}")
        for version in absent:
            typer.echo(f"{model}: its configuration names version '{version}', which it does not have")
        for version in versions:
            failure, found = await _check(source, loader, model, version)
            typer.echo(f"{model} {version}: {failure or found}")
            broken += bool(failure) or unserved
        total += max(1, len(versions)) + len(absent)
        broken += len(absent) if versions else 1
    return total, broken


def _config_of(source: Source, model: str) -> ModelConfig | None:
    """Warns of what has no effect; None where it cannot be read, as each version then says."""
    from service.core.errors import RetortError  # noqa: PLC0415

    try:
        config = source.read_config(model)
    except RetortError:
        return None
    for warning in config.warnings:
        _warn(warning)
    return config


def _why_none(source: Source, model: str) -> str:
    """Why the model has no version: a configuration that cannot be read may have left it to another server."""
    from service.core.errors import RetortError  # noqa: PLC0415

    try:
        source.read_config(model)
    except RetortError as error:
        return str(error)
    return "it has no version with a model.onnx"


def _parts(settings: Settings) -> tuple[Source, Loader]:
    from service.assembly import loader_of, source_of  # noqa: PLC0415 - the whole server
    from service.core.clock import MonotonicClock  # noqa: PLC0415
    from service.runtime.devices import find_obstacles  # noqa: PLC0415

    source = source_of(settings)
    clock = MonotonicClock()
    return source, loader_of(settings, source, find_obstacles(), clock=clock, report=_warn, on_fatal=_warn)


def _warn(sentence: str) -> None:
    typer.echo(f"retort: warning: {sentence}", err=True)


async def _check(source: Source, loader: Loader, model: str, version: str) -> tuple[str, str]:
    """Why the version cannot be served, "" when it can, and what its load found out."""
    from service.core.errors import RetortError  # noqa: PLC0415

    try:
        servable = await loader.load(model, version, source.read_config(model))
    except RetortError as error:
        return str(error), ""
    assert servable is not None  # noqa: S101 - only a reload finds nothing new
    await servable.retire()
    return "", _found(servable)


def _found(servable: Servable) -> str:
    golden = servable.examined.golden
    cases = f"{golden.n} golden rows hold, largest difference {golden.max_abs:.3g}" if golden else "no golden cases"
    verdict = f", verdict {servable.card.verdict}" if servable.card and servable.card.verdict else ""
    return f"ok, {cases}{verdict}"
