"""Reads a user's .npz files: one array per model input, under its name, the samples on axis 0; and labels or targets.

Everything is held against the model before anything runs, and each mistake is one sentence that says which file,
which array, and what was expected. No pickles are read, nothing is converted but the width of integer labels.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.samples import LABELS, TARGETS, Samples
from service.core.contract import Array, TensorSpec
from service.repository.suggest import did_you_mean, quoted

# RuntimeError: encrypted; NotImplementedError, a RuntimeError too: packed in a way that zipfile does not know.
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, RuntimeError)


class BadData(ValueError):
    """A file of samples does not fit the model; one sentence."""


def read_samples(path: Path, inputs: Sequence[TensorSpec], *, answers: bool) -> Samples:
    """The samples of a file, held against the model's inputs.

    Args:
        path: an .npz file.
        inputs: of the model.
        answers: whether labels or targets are kept; a calibration set needs none, and loses them here.

    Raises:
        BadData: what is wrong, in one sentence.
    """
    arrays = _arrays(path)
    kept = {name: arrays.pop(name) for name in (LABELS, TARGETS) if name in arrays and not _is_input(name, inputs)}
    names = [spec.name for spec in inputs]
    for name in arrays:
        if name not in names:
            raise BadData(f"{path}: the model has no input {quoted(name)}{did_you_mean(name, names)}")
    for spec in inputs:
        if spec.name not in arrays:
            raise BadData(f"{path} has no array {quoted(spec.name)}, which is an input of the model.")
        _check_input(path, spec, arrays[spec.name])
    rows = _same_length(path, {**arrays, **kept} if answers else arrays)
    _check_symbols(path, inputs, arrays)
    labels = _labels(path, kept[LABELS]) if answers and LABELS in kept else np.empty(0, np.int64)
    targets = _targets(path, kept[TARGETS]) if answers and TARGETS in kept else None
    if len(labels) and targets is not None:
        raise BadData(f"{path} has both labels and targets; a test set has one of them.")
    if not rows:
        raise BadData(f"{path} holds no samples.")
    return Samples(arrays, labels, targets)


def check_labels(path: Path, samples: Samples, classes: int) -> None:
    """Holds the labels against the number of classes that the judged output has.

    Raises:
        BadData: a label names no class.
    """
    bad = np.flatnonzero((samples.labels < 0) | (samples.labels >= classes))
    if len(bad):
        raise BadData(
            f"{path}: label {samples.labels[bad[0]]} of row {bad[0]} names none of the {classes} classes, "
            f"which are 0 to {classes - 1}."
        )


def check_targets(path: Path, samples: Samples, shape: tuple[int, ...]) -> Samples:
    """The samples with targets of the shape that the judged output has, rows aside; (n,) may stand for (n, 1).

    Raises:
        BadData: they have another shape.
    """
    if samples.targets is None:
        return samples
    targets = samples.targets
    if targets.ndim == 1 and shape == (1,):
        targets = targets[:, np.newaxis]
    if targets.shape[1:] != shape:
        raise BadData(f"{path}: a target has shape {_shape(targets.shape[1:])}, the output has {_shape(shape)}.")
    return Samples(samples.inputs, samples.labels, targets)


def _arrays(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise BadData(f"There is no file {path}.")
    try:
        with path.open("rb") as file:  # numpy leaves a file that it opened itself open where it is no archive
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise BadData(f"{path} is one array; an .npz file with one array per input is expected.")
            return {name: _member(path, archive, name) for name in archive.files}
    except BadData:
        raise
    except _NO_ARCHIVE as error:
        raise BadData(f"{path} is not an .npz file, or is damaged.") from error
    except MemoryError as error:
        raise BadData(f"{path} says that it holds more than there is memory for.") from error


def _member(path: Path, archive: Mapping[str, Array], name: str) -> Array:
    try:
        array = archive[name]
    except ValueError as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise BadData(f"{path}: {quoted(name)} holds Python objects (a pickle), which are never read.") from error
        raise
    if not isinstance(array, np.ndarray):  # numpy hands out the bytes of what is no array
        raise BadData(f"{path}: {quoted(name)} is not an array.")
    return array


def _is_input(name: str, inputs: Sequence[TensorSpec]) -> bool:
    return any(spec.name == name for spec in inputs)


def _check_input(path: Path, spec: TensorSpec, array: Array) -> None:
    where = f"{path}: {quoted(spec.name)}"
    if spec.datatype == "BYTES":
        raise BadData(f"The model's input {quoted(spec.name)} takes text, which the workshop cannot measure.")
    if array.dtype != spec.dtype:
        raise BadData(f"{where} is of dtype {array.dtype}, the model takes {spec.dtype}.")
    if spec.dims and array.ndim != len(spec.dims):
        raise BadData(f"{where} has shape {_shape(array.shape)}, the model takes {_dims(spec)}.")
    for axis, (size, dim) in enumerate(zip(array.shape, spec.dims, strict=False)):
        if axis and isinstance(dim, int) and dim != size:
            raise BadData(f"{where} has shape {_shape(array.shape)}, the model takes {_dims(spec)}.")
    if array.dtype.kind == "f" and array.ndim:
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1)) if array.size else ()
        if len(bad):
            raise BadData(f"{where} has a NaN or an infinity in row {bad[0]}, and in {len(bad)} rows in all.")


def _same_length(path: Path, arrays: Mapping[str, Array]) -> int:
    lengths = {name: len(array) if array.ndim else None for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        told = ", ".join(f"{name} {'no' if n is None else n}" for name, n in lengths.items())
        raise BadData(f"{path}: every array must have the same number of samples on axis 0; found {told}.")
    return next(iter(lengths.values())) or 0


def _check_symbols(path: Path, inputs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> None:
    """An axis of one name has one size in all inputs."""
    sizes: dict[str, tuple[str, int]] = {}
    for spec in inputs:
        for axis, dim in enumerate(spec.dims):
            if not isinstance(dim, str) or not axis:
                continue
            size = arrays[spec.name].shape[axis]
            other, before = sizes.setdefault(dim, (spec.name, size))
            if before != size:
                raise BadData(
                    f"{path}: axis {quoted(dim)} has {before} entries in {quoted(other)} and {size} in "
                    f"{quoted(spec.name)}."
                )


def _labels(path: Path, array: Array) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise BadData(
            f"{path}: labels must be whole numbers of shape (n,), one class a sample; found {array.dtype} of shape "
            f"{_shape(array.shape)}."
        )
    return array.astype(np.int64)


def _targets(path: Path, array: Array) -> NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise BadData(f"{path}: targets must be numbers; found {array.dtype}.")
    targets: NDArray[Any] = array.astype(np.float64)
    if not np.isfinite(targets).all():
        raise BadData(f"{path}: targets hold a NaN or an infinity.")
    return targets


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _dims(spec: TensorSpec) -> str:
    return f"({', '.join('any' if dim is None else str(dim) for dim in spec.dims)})"
