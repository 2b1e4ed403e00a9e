"""Remembers which versions passed their trial here, so that a restart does not try every version again.

A file that cannot be read or written costs only that trials are run again; it is reported, never fatal.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

from service.core.whole_file import replace_whole

FILE = "trials.json"  # in the state folder
_MOST_ENTRIES = 10_000


class TrialMemory:
    """Passed trials by (sha256 of the files, ONNX Runtime's version, provider). Safe to use from several threads.

    Args:
        path: a JSON file, read once, now; None remembers until the process ends.
        report: told in one sentence when the file cannot be read or written.
    """

    def __init__(self, path: Path | None, report: Callable[[str], None]) -> None:
        self._path = path
        self._report = report
        self._lock = threading.Lock()
        self._passed: dict[str, None] = dict.fromkeys(self._read())  # a set in order of age

    def passed(self, sha256: str, runtime_version: str, provider: str) -> bool:
        """Whether this very version passed under this runtime and provider."""
        return _key(sha256, runtime_version, provider) in self._passed

    def remember(self, sha256: str, runtime_version: str, provider: str) -> None:
        """Notes a pass, on disk too; blocks. The oldest go first beyond 10,000."""
        with self._lock:
            self._passed[_key(sha256, runtime_version, provider)] = None
            while len(self._passed) > _MOST_ENTRIES:
                del self._passed[next(iter(self._passed))]
            self._write()

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            content = json.loads(self._path.read_bytes())
            passed = content["passed"]
            if isinstance(passed, list) and all(isinstance(key, str) for key in passed):
                return passed
        except (FileNotFoundError, NotADirectoryError):
            return []  # nothing was remembered yet; a folder that cannot be made is reported by the first write
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        self._report("the memory of passed trials cannot be read, so each version is tried again")
        return []

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_whole(self._path, json.dumps({"passed": list(self._passed)}).encode())
        except OSError:
            self._report("a passed trial cannot be written down, so it will be run again after a restart")


def _key(sha256: str, runtime_version: str, provider: str) -> str:
    return f"{sha256} {runtime_version} {provider}"
