"""Publishes a version into a model's folder: whole or not at all, for a gateway that may read at any moment.

Everything is written and synced in a folder beside the final one, which is then renamed. A published version is
never changed: who cites its hash can rely on it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path


class AlreadyPublished(ValueError):
    """The version is there already, with other content."""


def publish(model_folder: Path, version: str, files: Mapping[str, bytes]) -> bool:
    """Writes `<model_folder>/<version>/`, making the model's folder if need be.

    Args:
        model_folder: `<repository>/<model>`.
        version: the id.
        files: name -> content; card.json must be among them.

    Returns:
        False when the very same files are there already.

    Raises:
        AlreadyPublished: the version is there with other content.
        OSError: the disk refused; nothing of the version is left.
    """
    final = model_folder / version
    if final.exists():
        if {path.name: path.read_bytes() for path in final.iterdir()} == dict(files):
            return False
        raise AlreadyPublished(f"{model_folder.name}/{version} is published already, with other content.")
    model_folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=model_folder))
    try:
        for name, data in files.items():
            _write(beside / name, data)
        beside.chmod(0o755)
        _sync_folder(beside)
        beside.rename(final)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync_folder(model_folder)
    return True


def publish_config(model_folder: Path, config: bytes) -> bool:
    """Writes model.yaml unless there is one, which belongs to whoever runs the model; False when there is."""
    final = model_folder / "model.yaml"
    if final.exists():
        return False
    model_folder.mkdir(parents=True, exist_ok=True)
    beside = model_folder / ".model.yaml.tmp"
    _write(beside, config)
    beside.rename(final)
    _sync_folder(model_folder)
    return True


def replace_card(version_folder: Path, card: bytes) -> None:
    """Puts another card.json in the place of the one that is there, in one step; nothing else is touched.

    For what was measured later on another machine: a card may learn, the files that it speaks of may not.
    """
    beside = version_folder.parent / f".{version_folder.name}-card.tmp"
    try:
        _write(beside, card)
        beside.replace(version_folder / "card.json")
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(version_folder)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
