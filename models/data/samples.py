"""Samples: named arrays with the samples on axis 0, and their labels; their hashes; their form as .npz bytes.

A sample's hash covers its inputs only, so that the same image under two labels still counts as one.
Knows no dataset by name.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.contract import Array, Arrays

LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Samples:
    """Some samples of a classification task.

    Attributes:
        inputs: model input's name -> array (n, ...), in the dtype that the model takes.
        labels: int64 (n,), class indices.
    """

    inputs: Arrays
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.inputs.items()}
        if not lengths or set(lengths.values()) != {len(self.labels)}:
            raise ValueError(f"{len(self.labels)} labels do not fit inputs of {lengths} samples.")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Iterable[int]) -> Samples:
        """The samples at these positions, in this order."""
        at = np.fromiter(rows, dtype=np.int64)
        return Samples({name: array[at] for name, array in self.inputs.items()}, self.labels[at])

    def row_hashes(self) -> list[str]:
        """One SHA-256 a sample, over its inputs in the order of their names: shape, dtype and little-endian bytes."""
        return [self._row_hash(row) for row in range(len(self))]

    def sha256(self) -> str:
        """SHA-256 of the set: its sorted row hashes, each with its label; the order of the samples does not matter."""
        lines = sorted(f"{row} {label}\n" for row, label in zip(self.row_hashes(), self.labels, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _row_hash(self, row: int) -> str:
        digest = hashlib.sha256()
        for name in sorted(self.inputs):
            array = np.ascontiguousarray(self.inputs[name][row])
            digest.update(f"{name} {array.dtype.str[1:]} {array.shape}\n".encode())
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def to_npz(samples: Samples) -> bytes:
    """The samples as .npz bytes: one array per input under its name, and `labels`. Equal samples give equal bytes."""
    return arrays_to_npz({**samples.inputs, LABELS: samples.labels})


def from_npz(data: bytes) -> Samples:
    """Reads what `to_npz` wrote, without pickles.

    Raises:
        ValueError: no array `labels`, or lengths that differ.
    """
    arrays = read_arrays(data)
    if LABELS not in arrays:
        raise ValueError("The .npz has no array `labels`.")
    labels = arrays.pop(LABELS).astype(np.int64)
    return Samples(arrays, labels)


def arrays_to_npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Named arrays as compressed .npz bytes; numpy stamps every member 1980, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_arrays(data: bytes) -> dict[str, Array]:
    """The arrays of .npz bytes by name, without pickles."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
