"""Opens folders and files one path component at a time, follows no link, and reads a file at most once, whole.

What it hands out are bytes of a regular file with one name, inside the folder, no larger than the caller's limit.
Everything else is refused before a byte of it is read. Knows nothing of models and of what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

from service.core.errors import BadModel, Unavailable
from service.repository.suggest import quoted

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe must not wait for its writer. On a regular file it has no effect.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the fault of no file
# What the system says of these would send its reader elsewhere.
_REASONS = {
    errno.ELOOP: "it is a symbolic link, and none is followed; put a copy of the file there",
    errno.ENXIO: "it is a socket, or a device that is not there",
}
_READ_BYTES = 1 << 30
_LOCATION_LIMIT = 255
_DEPTH_LIMIT = 8
_ENTRIES_LIMIT = 10_000
# "*" opens the locations that ONNX Runtime gives to memory of its own; ":" names a drive or a stream elsewhere.
_FORBIDDEN = frozenset('\\:*?"<>|')


def path_parts(location: str) -> tuple[str, ...]:
    """The components of a plain relative path such as `weights/part-1.bin`.

    Raises:
        BadModel: absolute, empty, with "." or "..", too long or deep, or with a character that is not printable or
            means more than itself somewhere.
    """
    parts = tuple(location.split("/"))
    plain = (
        len(location) <= _LOCATION_LIMIT
        and len(parts) <= _DEPTH_LIMIT
        and location.isprintable()
        and not _FORBIDDEN.intersection(location)
        and not any(part in ("", ".", "..") for part in parts)
    )
    if not plain:
        raise BadModel(f"{quoted(location)} is not a plain path inside the version's folder.")
    return parts


class Readable(Protocol):
    """A folder whose files can be read, whether they lie on disk or came with a request; see `Folder`'s methods."""

    @property
    def where(self) -> str:
        """What messages call it."""
        ...

    def folders(self) -> list[str]:
        """Names of the folders in it."""
        ...

    def files(self) -> set[str]:
        """Relative paths of all files in it and below."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name."""
        ...

    def read(self, location: str, *, limit_bytes: int, expected_bytes: int | None = None) -> bytes:
        """The whole of one file. Raises BadModel."""
        ...


class Folder:
    """An open folder, to be used in a `with` statement.

    Args:
        descriptor: an open directory; this object takes ownership of it.
        where: what messages call it, such as `digits/1`; never a path outside the repository.
    """

    def __init__(self, descriptor: int, where: str) -> None:
        self._descriptor = descriptor
        self.where = where

    @classmethod
    def at(cls, path: Path, where: str = "") -> Folder:
        """Opens a folder that the operator named, whose own path may hold links; OSError if it cannot be opened."""
        return cls(os.open(path, _FOLDER_FLAGS), where)

    def child(self, name: str) -> Folder:
        """Opens the folder of that name in this one; OSError if there is none or it is a link."""
        descriptor = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=self._descriptor)
        return Folder(descriptor, f"{self.where}/{name}" if self.where else name)

    def folders(self) -> list[str]:
        """Names of the folders in this one, links left out, in no order; BadModel if it cannot be listed."""
        with self._telling("cannot be listed"), os.scandir(self._descriptor) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def files(self) -> set[str]:
        """Relative paths of all that is not a folder, in this one and below; opens folders only.

        Raises:
            BadModel: deeper or fuller than any version's folder needs to be, or it cannot be listed.
        """
        found: set[str] = set()
        with self._telling("cannot be listed"):
            for count, (path, is_folder) in enumerate(self._walk(1), 1):
                if count > _ENTRIES_LIMIT:
                    raise BadModel(f"{self.where} holds more than {_ENTRIES_LIMIT} files and folders.")
                if not is_folder:
                    found.add(path)
        return found

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name, of any kind; BadModel if that cannot be told."""
        with self._telling("cannot be searched"):
            try:
                os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def read(self, location: str, *, limit_bytes: int, expected_bytes: int | None = None) -> bytes:
        """Reads one file, once.

        Args:
            location: plain relative path.
            limit_bytes: refused when larger, before reading.
            expected_bytes: refused when of another size, before reading; None if not known.

        Raises:
            BadModel: missing, a link or below one, not a regular file, known under another name as well, of the
                wrong size, or changed while it was read.
        """
        *folders, name = path_parts(location)
        with self._telling(f"has no readable file {quoted(location)}"):
            descriptor = self._open_file(folders, name)
            try:
                size_bytes = self._checked_size_bytes(descriptor, location, limit_bytes)
                if expected_bytes not in (None, size_bytes):
                    raise BadModel(
                        f"{self.where}: {quoted(location)} has {size_bytes} bytes, card.json says {expected_bytes}."
                    )
                data = _read_at_most(descriptor, size_bytes + 1)
            finally:
                os.close(descriptor)
        if len(data) != size_bytes:
            raise BadModel(f"{self.where}: {quoted(location)} changed while it was read.")
        return data

    def _open_file(self, folders: list[str], name: str) -> int:
        parent = os.dup(self._descriptor)
        try:
            for folder in folders:
                below = os.open(folder, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
                os.close(parent)
                parent = below
            return os.open(name, _FILE_FLAGS, dir_fd=parent)
        finally:
            os.close(parent)

    def _checked_size_bytes(self, descriptor: int, location: str, limit_bytes: int) -> int:
        status = os.fstat(descriptor)
        what = f"{self.where}: {quoted(location)}"
        if not stat.S_ISREG(status.st_mode):
            raise BadModel(f"{what} is not a regular file.")
        if status.st_nlink > 1:  # 0: another file took its place since it was opened; this one is whole all the same
            raise BadModel(f"{what} is a hard link ({status.st_nlink} names); put a copy of the file there.")
        if status.st_size > limit_bytes:
            raise BadModel(f"{what} has {status.st_size} bytes, more than the limit of {limit_bytes}.")
        return status.st_size

    def _walk(self, depth: int) -> Iterator[tuple[str, bool]]:
        if depth > _DEPTH_LIMIT:
            raise BadModel(f"{self.where} lies deeper than {_DEPTH_LIMIT} folders.")
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                yield entry.name, is_folder
                if is_folder:
                    with self.child(entry.name) as below:
                        yield from ((f"{entry.name}/{path}", nested) for path, nested in below._walk(depth + 1))

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # strerror alone: str(error) would hold a path.
            why = _REASONS.get(error.errno or 0) or (error.strerror or "unknown reason").lower()
            if error.errno in SHORT:
                raise Unavailable(f"{self.where} {what}: {why}; try again later") from None
            raise BadModel(f"{self.where} {what}: {why}.") from None

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def _read_at_most(descriptor: int, limit_bytes: int) -> bytes:
    # One read call takes a whole file of up to 1 GiB without a second copy of it in memory.
    chunks: list[bytes] = []
    while limit_bytes > 0 and (chunk := os.read(descriptor, min(limit_bytes, _READ_BYTES))):
        chunks.append(chunk)
        limit_bytes -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
