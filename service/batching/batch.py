"""Stacks pieces into one batch and takes the outputs apart again: whose row is whose is decided here and nowhere else.

Memory: a lone piece runs on its request's own arrays and gets the engine's own outputs, without a copy. As soon as two
share a batch, inputs are copied into it and each gets copies of its rows, so that nobody holds, sees or can change
another's memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from service.batching.contract import Outputs
from service.batching.ticket import Key, Piece, signature
from service.core.contract import Arrays
from service.core.errors import RunFailed


class Stacking:
    """How pieces become a batch: here those of equal shapes, as they are."""

    key: Key = staticmethod(signature)  # what the inputs of two pieces must have in common to share a batch

    def choose(self, pieces: Iterable[Piece], rows: int) -> list[Piece]:
        """The next batch out of pieces of one key, in turn: always the first, then all that fit into `rows`."""
        taken: list[Piece] = []
        for piece in pieces:
            rows -= piece.weight
            if taken and rows < 0:
                break
            taken.append(piece)
        return taken

    def longest(self, pieces: Sequence[Piece]) -> Piece:
        """The one whose inputs are as long as the batch on every axis but the first."""
        return pieces[0]

    def stack(self, pieces: Sequence[Piece]) -> Arrays:
        """The batch of some pieces, see `stack`."""
        return stack(pieces)

    def split(self, outputs: Outputs, pieces: Sequence[Piece]) -> list[Outputs]:
        """Each piece's part of a batch's outputs, see `split`."""
        return split(outputs, pieces)


def stack(pieces: Sequence[Piece]) -> Arrays:
    """The batch of some pieces, name -> array of shape [sum of rows, ...], rows in the order of the pieces."""
    if len(pieces) == 1:
        return pieces[0].inputs
    return {name: np.concatenate([piece.inputs[name] for piece in pieces]) for name in pieces[0].inputs}


def split(outputs: Outputs, pieces: Sequence[Piece]) -> list[Outputs]:
    """Each piece's part of a batch's outputs, in the order of the pieces.

    Args:
        outputs: name -> array of shape [sum of rows, ...].
        pieces: those that were stacked.

    Raises:
        RunFailed: an output does not have a row for each row of the batch.
    """
    if len(pieces) == 1:
        check_rows(outputs, pieces[0].rows)
        return [outputs]
    check_rows(outputs, sum(piece.weight for piece in pieces))
    parts: list[Outputs] = []
    start = 0
    for piece in pieces:
        stop = start + piece.weight
        parts.append({name: array[start:stop].copy() for name, array in outputs.items()})
        start = stop
    return parts


def check_rows(outputs: object, rows: int | None) -> None:
    """Raises RunFailed unless `outputs` are arrays by name, with `rows` rows each (None: any shape)."""
    if not isinstance(outputs, dict | Mapping):  # a dict is told apart by far the sooner
        raise RunFailed("the model's run did not return named outputs")
    for name, array in outputs.items():
        if not isinstance(array, np.ndarray):
            raise RunFailed(f"output '{name}' is not an array")
        if rows is not None and (array.ndim == 0 or array.shape[0] != rows):
            raise RunFailed(f"output '{name}' has shape {list(array.shape)} for a batch of {rows} rows")


PLAIN = Stacking()
