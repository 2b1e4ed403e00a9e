"""Requests of different lengths in one batch: each is filled up to the longest, and what grew with it is cut back.

Nothing is filled further than the longest of its batch, and a lone request not at all. Whether filling leaves answers
as they are is for whoever makes a `Pads` to prove; what a proof does not cover keeps to requests of its own length.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from service.batching.batch import Stacking, check_rows, split, stack
from service.batching.contract import Outputs
from service.batching.ticket import Piece, signature
from service.core.contract import Array, Arrays
from service.core.errors import RunFailed

LOOK_AHEAD = 256  # pieces that are looked at for one batch


@dataclass(frozen=True, slots=True)
class Pads:
    """What may be filled, and what is cut.

    Attributes:
        axis: of every input in `fillers`, 1 or more.
        fillers: input -> the value that fills it.
        cuts: output -> the axes that are as long as the inputs' axis.
        max_waste: filler's share of a batch stays within it.
        guarded: inputs of which a row of nothing but filler is not filled any further.
    """

    axis: int
    fillers: Mapping[str, int | float]
    cuts: Mapping[str, tuple[int, ...]]
    max_waste: float
    guarded: tuple[str, ...] = ()


class Padded(Stacking):
    """Stacks with filler.

    Args:
        pads: what may be filled.
    """

    def __init__(self, pads: Pads) -> None:
        self._pads = pads
        self._first = next(iter(pads.fillers))

    def key(self, inputs: Arrays) -> Hashable:
        """Names, dtypes and shapes but for rows and the padded axis; all of the shape where it may not be filled."""
        pads = self._pads
        lengths = {inputs[name].shape[pads.axis] for name in pads.fillers}
        if len(lengths) > 1 or 0 in lengths or any(self._empty_row(inputs, name) for name in pads.guarded):
            return signature(inputs)
        shapes = ((name, array.dtype.str, self._shape(name, array)) for name, array in inputs.items())
        return "padded", *sorted(shapes)

    def choose(self, pieces: Iterable[Piece], rows: int) -> list[Piece]:
        """The first piece, then those nearest to it in length that fit into `rows` without too much filler.

        Better ranks before nearer lengths. Whoever is passed over comes nearer to being first with every batch.
        """
        first, *others = islice(pieces, LOOK_AHEAD)
        length = self._length(first.inputs)
        others.sort(key=lambda piece: (piece.ticket.rank, abs(self._length(piece.inputs) - length)))
        taken = [first]
        batch_rows, cells, longest = first.weight, first.weight * length, length
        for piece in others:
            length = self._length(piece.inputs)
            filled = cells + piece.weight * length
            whole = (batch_rows + piece.weight) * max(longest, length)
            if batch_rows + piece.weight <= rows and whole - filled <= self._pads.max_waste * whole:
                taken.append(piece)
                batch_rows, cells, longest = batch_rows + piece.weight, filled, max(longest, length)
        return taken

    def longest(self, pieces: Sequence[Piece]) -> Piece:
        """The one whose inputs are as long as the batch on every axis but the first."""
        return max(pieces, key=lambda piece: self._length(piece.inputs))

    def stack(self, pieces: Sequence[Piece]) -> Arrays:
        """The batch of some pieces, the shorter ones filled up to the longest."""
        if self._equal([piece.inputs for piece in pieces]):
            return stack(pieces)
        return self.fill([piece.inputs for piece in pieces])

    def split(self, outputs: Outputs, pieces: Sequence[Piece]) -> list[Outputs]:
        """Each piece's part of a batch's outputs, as long as it would be alone.

        Raises:
            RunFailed: an output does not have a row for each row of the batch, or is not as long as the batch.
        """
        if self._equal([piece.inputs for piece in pieces]):
            return split(outputs, pieces)
        return self.cut(outputs, [piece.inputs for piece in pieces])

    def fill(self, parts: Sequence[Arrays]) -> dict[str, Array]:
        """The batch of some requests' inputs, of shapes [rows, ...] that differ in rows and on the padded axis."""
        longest = max(self._length(part) for part in parts)
        return {
            name: self._filled(name, [part[name] for part in parts], longest)
            if name in self._pads.fillers
            else np.concatenate([part[name] for part in parts])
            for name in parts[0]
        }

    def cut(self, outputs: Outputs, parts: Sequence[Arrays]) -> list[Outputs]:
        """What a batch's outputs hold for each of the inputs that `fill` made one of; see `split`."""
        lengths = [self._length(part) for part in parts]
        counts = [len(part[self._first]) for part in parts]
        check_rows(outputs, sum(counts))
        self._check_lengths(outputs, max(lengths))
        found: list[Outputs] = []
        start = 0
        for length, count in zip(lengths, counts, strict=True):
            rows = slice(start, start + count)
            found.append({name: self._cut(name, array[rows], length) for name, array in outputs.items()})
            start += count
        return found

    def _equal(self, parts: Sequence[Arrays]) -> bool:
        return len({self._length(part) for part in parts}) == 1

    def _length(self, inputs: Arrays) -> int:
        return int(inputs[self._first].shape[self._pads.axis])

    def _shape(self, name: str, array: Array) -> tuple[int, ...]:
        axis = self._pads.axis
        return array.shape[1:axis] + array.shape[axis + 1 :] if name in self._pads.fillers else array.shape[1:]

    def _empty_row(self, inputs: Arrays, name: str) -> bool:
        array = inputs[name]
        full = (array != self._pads.fillers[name]).reshape(len(array), -1).any(axis=1)
        return not full.all()

    def _filled(self, name: str, arrays: Sequence[Array], longest: int) -> Array:
        axis = self._pads.axis
        shape = list(arrays[0].shape)
        shape[0], shape[axis] = sum(len(array) for array in arrays), longest
        batch: Array = np.full(shape, self._pads.fillers[name], dtype=arrays[0].dtype)
        start = 0
        for array in arrays:
            where = [slice(None)] * array.ndim
            where[0], where[axis] = slice(start, start + len(array)), slice(array.shape[axis])
            batch[tuple(where)] = array
            start += len(array)
        return batch

    def _cut(self, name: str, array: Array, length: int) -> Array:
        axes = self._pads.cuts.get(name, ())
        return array[tuple(slice(length) if axis in axes else slice(None) for axis in range(array.ndim))].copy()

    def _check_lengths(self, outputs: Outputs, longest: int) -> None:
        for name, axes in self._pads.cuts.items():
            shape = outputs[name].shape
            if any(axis >= len(shape) or shape[axis] != longest for axis in axes):
                raise RunFailed(f"output '{name}' has shape {list(shape)} for a batch of length {longest}")
