"""Samples: named arrays with the samples on axis 0, their labels or targets, their hashes, their form as .npz bytes.

A sample's hash covers its inputs only, so that the same image under two labels still counts as one.
Knows no dataset by name.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.contract import Array, Arrays

# RuntimeError: encrypted, or packed in a way that zipfile does not know.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, RuntimeError)
LABELS = "labels"
TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class Samples:
    """Some samples: inputs, and with them class labels, or what a regression should give, or neither.

    Attributes:
        inputs: model input's name -> array (n, ...), in the dtype that the model takes.
        labels: int64 (n,), class indices; empty where the samples are not of a classification.
        targets: float64 (n, ...), what a regression should answer; None elsewhere.
    """

    inputs: Arrays
    labels: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    targets: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.inputs.items()}
        for what, answers in ((LABELS, self.labels), (TARGETS, self.targets)):
            if answers is not None and len(answers) and set(lengths.values()) != {len(answers)}:
                raise ValueError(f"{len(answers)} {what} do not fit inputs of {lengths} samples.")
        if len(set(lengths.values())) != 1:
            raise ValueError(f"Inputs of {lengths} samples do not fit together.")

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def labelled(self) -> bool:
        """Whether there is a class for each sample."""
        return len(self.labels) == len(self) > 0

    def take(self, rows: Iterable[int]) -> Samples:
        """The samples at these positions, in this order."""
        at = np.fromiter(rows, dtype=np.int64)
        inputs = {name: array[at] for name, array in self.inputs.items()}
        labels = self.labels[at] if self.labelled else self.labels
        return Samples(inputs, labels, None if self.targets is None else self.targets[at])

    def row_hashes(self) -> list[str]:
        """One SHA-256 a sample, over its inputs in the order of their names: shape, dtype and little-endian bytes."""
        return [self._row_hash(row) for row in range(len(self))]

    def sha256(self) -> str:
        """SHA-256 of the set: its sorted row hashes, each with its label or target; the order does not matter."""
        lines = sorted(f"{row} {answer}\n" for row, answer in zip(self.row_hashes(), self._answers(), strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _answers(self) -> list[str]:
        if self.labelled:
            return [str(label) for label in self.labels]
        if self.targets is not None:
            return [hashlib.sha256(np.ascontiguousarray(row, "<f8").tobytes()).hexdigest() for row in self.targets]
        return [""] * len(self)

    def _row_hash(self, row: int) -> str:
        digest = hashlib.sha256()
        for name in sorted(self.inputs):
            array = np.ascontiguousarray(self.inputs[name][row])
            digest.update(f"{name} {array.dtype.str[1:]} {array.shape}\n".encode())
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def to_npz(samples: Samples) -> bytes:
    """The samples as .npz bytes: one array per input under its name, and `labels` or `targets`.

    Equal samples give equal bytes.
    """
    answers: dict[str, NDArray[Any]] = {LABELS: samples.labels} if samples.labelled else {}
    if samples.targets is not None:
        answers[TARGETS] = samples.targets
    return arrays_to_npz({**samples.inputs, **answers})


def from_npz(data: bytes) -> Samples:
    """Reads what `to_npz` wrote, without pickles; with neither `labels` nor `targets` these are inputs only.

    Raises:
        ValueError: no input, or lengths that differ.
    """
    arrays = read_arrays(data)
    labels = arrays.pop(LABELS, np.empty(0)).astype(np.int64)
    targets = arrays.pop(TARGETS, None)
    return Samples(arrays, labels, None if targets is None else targets.astype(np.float64))


def arrays_to_npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Named arrays as compressed .npz bytes; numpy stamps every member 1980, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_arrays(data: bytes) -> dict[str, Array]:
    """The arrays of .npz bytes by name, without pickles.

    Raises:
        ValueError: it is no .npz file, it is damaged, or it holds something else than arrays, or more than fits.
    """
    try:
        archive = np.load(io.BytesIO(data), allow_pickle=False)
        found = {name: archive[name] for name in archive.files} if isinstance(archive, np.lib.npyio.NpzFile) else None
    except _DAMAGED as error:
        raise ValueError(f"not an .npz file, or a damaged one: {error}") from error
    except MemoryError as error:
        raise ValueError("it says that it holds more than there is memory for") from error
    if found is None or not all(isinstance(array, np.ndarray) for array in found.values()):
        raise ValueError("an .npz file with named arrays, and nothing else in it, is expected")
    return found
