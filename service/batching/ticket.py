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
        outputs: what that run gave it.
    """

    __slots__ = ("alone", "bucket", "inputs", "key", "outputs", "rows", "run", "seq", "ticket", "weight")

    def __init__(
        self, ticket: Ticket, inputs: Arrays, rows: int | None, key: Hashable, alone: bool, seq: int = 0
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
        self.outputs: Outputs | None = None


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
            pieces.append(Piece(ticket, part, stop - start, object() if alone else key(part), alone))
        ticket.pieces = pieces
    ticket.missing = len(ticket.pieces)


def assemble(ticket: Ticket) -> dict[str, Array]:
    """The whole answer of a ticket from its pieces' outputs, name -> array of shape [rows, ...].

    Raises:
        RunFailed: the pieces' outputs do not fit together.
    """
    if len(ticket.pieces) == 1:
        return dict(ticket.pieces[0].outputs or {})
    parts = [piece.outputs or {} for piece in ticket.pieces]
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except (KeyError, ValueError) as error:
        raise RunFailed("the model's outputs for the parts of this request do not fit together") from error
