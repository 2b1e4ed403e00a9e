"""A request while it waits for its answer: one ticket, in one or more pieces that fit a batch.

Plain state, owned by the event loop's thread. `ledger` alone ends a ticket, `queue` alone says where a piece waits.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.batching.contract import Answer, Outputs, Trace
from service.batching.policy import piece_bounds
from service.core.contract import Array, Arrays
from service.core.errors import RunFailed

if TYPE_CHECKING:
    from service.batching.queue import Bucket
    from service.batching.run import Run


@dataclass(slots=True, eq=False)
class Ticket:
    """One request.

    Attributes:
        future: what its sender awaits.
        arrived_s: when it was submitted, monotonic seconds.
        deadline_s: when nobody wants the answer any more; `inf` for never.
        origin: who sent it; "" when not known.
        quiet: run and answered like any other, but counted nowhere.
        trace: what follows this request; None for nothing.
        level: priority level, 1 served first; 0 where there are none.
        rank: what `queue` goes by: twice the level, and one more for those whose time to wait is over.
        wait_until_s: when its time to wait is over, unless it is run before; `inf` for never.
        delays: whether it then goes on waiting, behind all others of its level.
        predicted_wait_s: what it was told to expect when it came; None where it need not wait.
        pieces: its parts, in order of their rows; empty once it has ended.
        waiting: pieces in the queue.
        missing: pieces without an answer.
        outputs: of the pieces that have one, name -> array with all of the request's rows; None before the first.
        finite: whether the outputs of all its runs so far were finite.
        number: given by the ledger.
        ended: set by the ledger alone, once.
    """

    future: asyncio.Future[Answer]
    arrived_s: float
    deadline_s: float
    origin: str = ""
    quiet: bool = False
    trace: Trace | None = None
    level: int = 0
    rank: int = 0
    wait_until_s: float = math.inf
    delays: bool = False
    predicted_wait_s: float | None = None
    pieces: Sequence[Piece] = ()
    waiting: int = 0
    missing: int = 0
    outputs: dict[str, Array] | None = None
    finite: bool = True
    number: int = 0
    ended: bool = False

    @property
    def wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return not self.ended and not self.future.done()

    @property
    def waits_whole(self) -> bool:
        """Whether no part of it has been run."""
        return 0 < self.waiting == len(self.pieces)


class Piece:
    """A part of a request that runs whole.

    Attributes:
        inputs: name -> array of shape [rows, ...]; views of the request's arrays.
        rows: None where there is no batch axis.
        weight: rows as the queue and the cost curve count them: a piece without rows is worth one.
        key: pieces of equal keys may share a batch.
        alone: nobody else has its key.
        seq: its place in the queue's order of arrival.
        bucket: where it waits; None while it does not.
        run: the run that it is in now.
        start: the first of its rows among the request's.
    """

    __slots__ = ("alone", "bucket", "inputs", "key", "rows", "run", "seq", "start", "ticket", "weight")

    def __init__(
        self, ticket: Ticket, inputs: Arrays, rows: int | None, key: Hashable, alone: bool, seq: int = 0, start: int = 0
    ) -> None:
        self.ticket = ticket
        self.inputs = inputs
        self.rows = rows
        self.weight = rows or 1
        self.key = key
        self.alone = alone
        self.seq = seq
        self.bucket: Bucket | None = None
        self.run: Run | None = None
        self.start = start


Key = Callable[[Arrays], Hashable]


def signature(inputs: Arrays) -> Hashable:
    """What two pieces must have in common to be stacked: names, dtypes, and shapes without the batch axis."""
    if len(inputs) == 1:
        ((name, array),) = inputs.items()
        return name, array.dtype, array.shape[1:]
    return tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items()))


def cut(ticket: Ticket, inputs: Arrays, rows: int | None, *, max_rows: int, alone: bool, key: Key = signature) -> None:
    """Gives a ticket its pieces.

    Args:
        ticket: a new one.
        inputs: name -> array of shape [rows, ...]; owned by the ticket from now on.
        rows: the request's rows, None when it must run whole.
        max_rows: rows of the largest piece.
        alone: whether its pieces share a batch with nobody.
        key: what the inputs of pieces that share a batch have in common.
    """
    if rows is None or rows <= max_rows:
        alone = alone or not rows
        ticket.pieces = [Piece(ticket, inputs, rows, object() if alone else key(inputs), alone)]
    else:
        pieces: list[Piece] = []
        for start, stop in piece_bounds(rows, max_rows):
            part = {name: array[start:stop] for name, array in inputs.items()}
            pieces.append(Piece(ticket, part, stop - start, object() if alone else key(part), alone, start=start))
        ticket.pieces = pieces
    ticket.missing = len(ticket.pieces)


def enter(piece: Piece, outputs: Outputs) -> None:
    """Takes what a run gave a piece into its ticket's outputs; a lone piece's as they are.

    Copied as they come: all at once would hold the event loop up for as long as the answer is large, and until then
    keep the memory of every run.

    Raises:
        RunFailed: they do not fit to those of the pieces before, or there is no memory for all of them.
    """
    ticket = piece.ticket
    if len(ticket.pieces) == 1:
        ticket.outputs = dict(outputs)
        return
    if ticket.outputs is None:
        ticket.outputs = _room_for(outputs, sum(each.weight for each in ticket.pieces))
    whole, rows = ticket.outputs, slice(piece.start, piece.start + piece.weight)
    given = {name: (array.shape[1:], array.dtype) for name, array in outputs.items()}
    if given != {name: (array.shape[1:], array.dtype) for name, array in whole.items()}:
        raise RunFailed("the model's outputs for the parts of this request do not fit together")
    for name, array in outputs.items():
        whole[name][rows] = array


def _room_for(outputs: Outputs, rows: int) -> dict[str, Array]:
    """Arrays like `outputs`, of so many rows; memory is taken as they are filled."""
    try:
        return {name: np.empty((rows, *array.shape[1:]), array.dtype) for name, array in outputs.items()}
    except (MemoryError, ValueError):  # too much for the machine, or for a number
        raise RunFailed("there is not enough memory for the answer to so many rows") from None
