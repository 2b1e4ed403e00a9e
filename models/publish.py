"""Publishes a version into a model's folder: whole or not at all, for a gateway that may read at any moment.

Everything is written and synced in a folder beside the final one, which is then renamed. A published version is
never changed: who cites its hash can rely on it.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_BESIDE = ".retort-"  # hidden, so that no gateway takes it for a version
_LEFT_BEHIND_S = 24 * 3600
# What a rename says where a folder of that name has come in between.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


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
        return _same(final, files)
    model_folder.mkdir(parents=True, exist_ok=True)
    _sweep(model_folder)
    beside = Path(tempfile.mkdtemp(prefix=f"{_BESIDE}{version}-", dir=model_folder))
    try:
        for name, data in files.items():
            _write(beside / name, data)
        beside.chmod(0o755)
        _sync_folder(beside)
        beside.rename(final)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _TAKEN:  # somebody else was faster
            return _same(final, files)
        raise
    _sync_folder(model_folder)
    return True


def _sweep(model_folder: Path) -> None:
    """Removes what a process that was killed, or a machine that went down, left half-written: nobody writes a day."""
    before = time.time() - _LEFT_BEHIND_S
    for left in model_folder.glob(f"{_BESIDE}*-????????"):
        if left.is_dir() and not left.is_symlink() and left.stat().st_mtime < before:
            shutil.rmtree(left, ignore_errors=True)
        elif left.is_file() and left.stat().st_mtime < before:
            left.unlink(missing_ok=True)


def _same(final: Path, files: Mapping[str, bytes]) -> bool:
    """False where the folder holds these very files. Raises AlreadyPublished."""
    if {path.name: path.read_bytes() for path in final.iterdir() if path.is_file()} == dict(files):
        return False
    raise AlreadyPublished(f"{final.parent.name}/{final.name} is published already, with other content.")


def publish_config(model_folder: Path, config: bytes) -> bool:
    """Writes model.yaml unless there is one, which belongs to whoever runs the model; False when there is."""
    final = model_folder / "model.yaml"
    if final.exists():
        return False
    model_folder.mkdir(parents=True, exist_ok=True)
    beside = _write_beside(model_folder, f"{_BESIDE}model.yaml-", config)
    try:
        os.link(beside, final)  # unlike a rename it puts nothing in the place of what came in between
    except FileExistsError:
        return False
    finally:
        beside.unlink()
    _sync_folder(model_folder)
    return True


def replace_card(version_folder: Path, card: bytes) -> None:
    """Puts another card.json in the place of the one that is there, in one step; nothing else is touched.

    For what was measured later on another machine: a card may learn, the files that it speaks of may not.
    """
    beside = _write_beside(version_folder.parent, f"{_BESIDE}{version_folder.name}-card-", card)
    try:
        beside.replace(version_folder / "card.json")
    finally:
        beside.unlink(missing_ok=True)
    _sync_folder(version_folder)


def _write_beside(folder: Path, prefix: str, data: bytes) -> Path:
    """A new file of a name that no other process has, written and synced."""
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    os.close(descriptor)
    beside = Path(name)
    try:
        _write(beside, data)
        beside.chmod(0o644)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return beside


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
