"""The server's settings for the commands that need them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.failure import Failure

if TYPE_CHECKING:
    from service.settings import Settings

_CONFIGURATIONS = ("model.yaml", "config.pbtxt")
_GRAPHS = ("model.onnx", "model.deep")


def read_settings(given: Mapping[str, object]) -> Settings:
    """The server's settings, with what the command line gave; raises Failure with a sentence for each wrong one."""
    from service.settings import Settings, SettingsError  # noqa: PLC0415 - pydantic

    try:
        return Settings.read(given)
    except SettingsError as error:
        raise Failure(str(error)) from None


def refuse_model_folder(folder: Path) -> None:
    """Raises Failure where `folder` is that of one model in place of a folder of models: one level too deep."""
    configured = any((folder / name).is_file() for name in _CONFIGURATIONS)
    if configured or (_holds(folder, "*") and not _holds(folder, "*/*")):
        raise Failure(f"{folder} is the folder of one model: name the folder that it lies in, {folder.parent}.")


def _holds(folder: Path, level: str) -> bool:
    return any(next(folder.glob(f"{level}/{name}"), None) for name in _GRAPHS)
