"""Reads recorded traces: how many requests came in each second, from a text file that may be packed.

Two forms are known: one whole number a line (requests in that second), and CSV with a column of time stamps, of which
each line is a request. Both may be .bz2, .gz, or the only file of a .tar that is packed so.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT_BYTES = 256 << 20
_STAMPS = ("timestamp", "time", "arrived_at")

Counts = NDArray[np.int64]


class BadTrace(ValueError):
    """The file holds no trace; the message says what was found."""


def read_trace(path: Path) -> Counts:
    """Requests in each second, int64 (n,).

    Raises:
        BadTrace: it is in neither form, or larger than `LIMIT_BYTES` when unpacked.
        OSError: it cannot be read.
    """
    text = _unpacked(path).decode("utf-8", errors="replace")
    first = text.lstrip().partition("\n")[0]
    counts = _from_csv(text, path) if "," in first else _from_lines(text, path)
    if not len(counts) or not counts.any():
        raise BadTrace(f"{path.name} holds no request.")
    return counts


def _from_lines(text: str, path: Path) -> Counts:
    try:
        counts = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError):
        raise BadTrace(f"{path.name} is no list of whole numbers, one for each second, nor CSV.") from None
    if len(counts) and counts.min() < 0:
        raise BadTrace(f"{path.name} has a negative number of requests, in line {int(counts.argmin()) + 1}.")
    return counts


def _from_csv(text: str, path: Path) -> Counts:
    reader = csv.DictReader(io.StringIO(text))
    column = next((name for name in reader.fieldnames or () if name.strip().lower() in _STAMPS), None)
    if column is None:
        raise BadTrace(f"{path.name} has no column named {', '.join(_STAMPS)}.")
    stamps = np.array([_seconds(row[column], path) for row in reader])
    if not len(stamps):
        return np.empty(0, np.int64)
    return np.bincount(np.floor(stamps - stamps.min()).astype(np.int64)).astype(np.int64)


def _seconds(value: Any, path: Path) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        # Traces are written with seven digits of a second; Python reads six.
        head, _, fraction = str(value).partition(".")
        return datetime.fromisoformat(head).timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        raise BadTrace(f"{path.name} has a time stamp that cannot be read: {str(value)[:40]!r}.") from None


def _unpacked(path: Path) -> bytes:
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise BadTrace(f"{path} cannot be read: {error.strerror}.") from None
    opener = {b"BZ": bz2.open, b"\x1f\x8b": gzip.open}.get(packed[:2], lambda stream: stream)
    try:
        with opener(io.BytesIO(packed)) as stream:
            data = stream.read(LIMIT_BYTES + 1)
    except (OSError, EOFError) as error:
        raise BadTrace(f"{path.name} cannot be unpacked: {error}.") from None
    if len(data) > LIMIT_BYTES:
        raise BadTrace(f"{path.name} holds more than {LIMIT_BYTES} bytes.")
    return _only_file(data, path) if data[257:262] == b"ustar" else data


def _only_file(data: bytes, path: Path) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        if len(files) != 1:
            raise BadTrace(f"{path.name} is an archive of {len(files)} files; one is expected.")
        member = archive.extractfile(files[0])
        return member.read() if member else b""
