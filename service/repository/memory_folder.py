"""A folder whose files came with a request: the same reads as `folder.Folder`, from memory, under the same rules.

Paths are plain and relative, a file is no folder as well, and there are no links. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.core.errors import BadModel
from service.repository.folder import path_parts
from service.repository.suggest import quoted


class MemoryFolder:
    """A folder in memory.

    Args:
        files: relative path -> the whole of that file.
        where: what messages call it, such as `digits/1`.

    Raises:
        BadModel: a path is not plain, or one file lies below another.
    """

    def __init__(self, files: Mapping[str, bytes], where: str) -> None:
        self._files = dict(files)
        self.where = where
        for location in self._files:
            parts = path_parts(location)
            above = ("/".join(parts[:count]) for count in range(1, len(parts)))
            if any(path in self._files for path in above):
                raise BadModel(f"{where}: {quoted(location)} lies below a file.")

    def child(self, name: str) -> MemoryFolder:
        """The folder of that name in this one; empty where there is none."""
        prefix = f"{name}/"
        below = {path.removeprefix(prefix): data for path, data in self._files.items() if path.startswith(prefix)}
        return MemoryFolder(below, f"{self.where}/{name}" if self.where else name)

    def folders(self) -> list[str]:
        """As `Folder.folders`."""
        return sorted({path.partition("/")[0] for path in self._files if "/" in path})

    def files(self) -> set[str]:
        """As `Folder.files`."""
        return set(self._files)

    def has(self, name: str) -> bool:
        """As `Folder.has`."""
        return name in self._files or name in self.folders()

    def read(self, location: str, *, limit_bytes: int, expected_bytes: int | None = None) -> bytes:
        """As `Folder.read`; hands out the bytes themselves, not a copy."""
        data = self._files.get("/".join(path_parts(location)))
        if data is None:
            raise BadModel(f"{self.where} has no readable file {quoted(location)}.")
        if len(data) > limit_bytes:
            raise BadModel(
                f"{self.where}: {quoted(location)} has {len(data)} bytes, more than the limit of {limit_bytes}."
            )
        if expected_bytes not in (None, len(data)):
            raise BadModel(f"{self.where}: {quoted(location)} has {len(data)} bytes, card.json says {expected_bytes}.")
        return data
