"""Who may go next: the open sequences of one version, their places, and the requests that wait in each.

Requests of a sequence go one after the other, in the order in which they came; sequences without a place wait for one,
first come first served. Plain bookkeeping: knows no event loop, no clock and no arrays. Semantics: Triton's sequence
batcher.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from service.core.contract import SequenceStep
from service.core.errors import BadInput, Draining, Rejected
from service.observe.sequence_counts import SequenceCounts


@dataclass(frozen=True, slots=True)
class SequenceLimits:
    """How much may be open and wait.

    Attributes:
        places: sequences that may run side by side.
        waiting: sequences that may wait for a place.
        steps: requests that may wait or run, of all sequences together.
        idle_s: a sequence without a request for so many seconds is forgotten.
    """

    places: int
    waiting: int
    steps: int
    idle_s: float


@dataclass(eq=False, slots=True)
class OpenSequence:
    """One sequence.

    Attributes:
        id: its correlation id.
        state: what its last answered request left; None before the first.
        turns: its requests, the one that may run first.
        placed: whether it has a place.
        ending: whether its last request is among `turns`, or was.
    """

    id: int | str
    state: Any = None
    turns: deque[Turn] = field(default_factory=deque)
    placed: bool = False
    ending: bool = False


@dataclass(eq=False, slots=True)
class Turn:
    """One request of a sequence; `wake` is called once, when it may run, unless it has left before."""

    sequence: OpenSequence
    step: SequenceStep
    wake: Callable[[], None]
    granted: bool = False
    gone: bool = False


class Sequences:
    """The open sequences of one version.

    Args:
        where: the model's name, for messages.
        limits: how much may be open and wait.
        counts: of sequences begun, ended and forgotten.
    """

    def __init__(self, where: str, limits: SequenceLimits, counts: SequenceCounts) -> None:
        self._where = where
        self._limits = limits
        self._counts = counts
        self._by_id: dict[int | str, OpenSequence] = {}
        self._waiting: OrderedDict[OpenSequence, None] = OrderedDict()
        self._idle: OrderedDict[OpenSequence, float] = OrderedDict()  # since when, the longest first
        self._placed = 0
        self._steps = 0
        self._closed = False

    def __len__(self) -> int:
        """Sequences that are open, those that wait for a place included."""
        return self._placed + len(self._waiting)

    def holds(self, sequence_id: int | str) -> bool:
        """Whether a request of `sequence_id` that starts nothing has a sequence to go on with."""
        return sequence_id in self._by_id

    def enter(self, step: SequenceStep, wake: Callable[[], None]) -> Turn:
        """Puts a request in line; `wake` may be called before this returns. Every turn must `leave`.

        Raises:
            BadInput: it starts no sequence, and none of its id is open.
            Rejected: too many sequences or requests wait.
            Draining: it starts a sequence, and no more are taken.
        """
        sequence = self._by_id.get(step.id)
        if sequence is None or step.start:
            self._check_start(step)
        if self._steps >= self._limits.steps:
            raise Rejected(f"model '{self._where}' has {self._steps} requests of sequences waiting, which is its limit")
        if sequence is None:
            sequence = self._open(step.id)
        elif step.start:
            self._counts.started += 1  # the old one ends without its end
            self._counts.ended += 1
        turn = Turn(sequence, step, wake)
        sequence.turns.append(turn)
        self._steps += 1
        self._idle.pop(sequence, None)
        if step.end:
            self._forget(sequence)
        self._grant(sequence)
        return turn

    def leave(self, turn: Turn, now_s: float, state: Any = None) -> None:
        """Ends a request's turn: answered with the `state` it leaves, or not answered (None), run or not."""
        sequence, turn.gone = turn.sequence, True
        self._steps -= 1
        if state is not None:
            sequence.state = state
        if sequence.turns[0] is not turn:
            self._close_ranks(sequence)
        while sequence.turns and sequence.turns[0].gone:
            self._pass(sequence)
        if sequence.turns:
            self._grant(sequence)
        else:
            self._rest(sequence, now_s)

    def expire(self, now_s: float) -> None:
        """Forgets the sequences that have been without a request for too long."""
        while self._idle and self.next_expiry_s <= now_s:
            sequence, _ = self._idle.popitem(last=False)
            self._forget(sequence)
            self._counts.expired += 1
            self._free()

    @property
    def next_expiry_s(self) -> float:
        """When the next idle sequence will be forgotten; infinity where none is idle."""
        return next(iter(self._idle.values()), math.inf) + self._limits.idle_s

    def close(self) -> None:
        """Begins no other sequence; the open ones go on."""
        self._closed = True

    def end(self, sequence_id: int | str) -> None:
        """Ends an open sequence; requests that wait in it are still run."""
        sequence = self._by_id[sequence_id]
        self._forget(sequence)
        if self._idle.pop(sequence, None) is not None:
            self._counts.ended += 1
            self._free()

    def end_all(self) -> None:
        """Begins no other sequence and ends every open one; requests that wait are still run."""
        self.close()
        for sequence_id in list(self._by_id):
            self.end(sequence_id)

    def _check_start(self, step: SequenceStep) -> None:
        if not step.start:
            raise BadInput(
                f"inference request for sequence {step.id} to model '{self._where}' must specify the START flag on the "
                "first request of the sequence: none of this id is open, or it was without a request for too long"
            )
        if self._closed:
            raise Draining(f"model '{self._where}' is shutting down this version and begins no new sequences")

    def _open(self, sequence_id: int | str) -> OpenSequence:
        sequence = OpenSequence(sequence_id)
        if self._placed < self._limits.places:
            self._place(sequence)
        elif len(self._waiting) < self._limits.waiting:
            self._waiting[sequence] = None
        else:
            raise Rejected(
                f"model '{self._where}' has {self._placed} open sequences and {len(self._waiting)} that wait for a "
                "place, which are its limits"
            )
        self._by_id[sequence_id] = sequence
        self._counts.started += 1
        return sequence

    def _place(self, sequence: OpenSequence) -> None:
        sequence.placed = True
        self._placed += 1

    def _grant(self, sequence: OpenSequence) -> None:
        """Lets the first request of a sequence that has a place run."""
        turn = sequence.turns[0]
        if sequence.placed and not turn.granted:
            turn.granted = True
            if turn.step.start:
                sequence.state = None
            turn.wake()

    def _close_ranks(self, sequence: OpenSequence) -> None:
        """Takes those that left out of the middle of the line, but for a start, and of many in a row for one."""
        kept: deque[Turn] = deque()
        for turn in sequence.turns:
            if not turn.gone or (turn.step.start and not kept[-1].gone):
                kept.append(turn)
        sequence.turns = kept

    def _pass(self, sequence: OpenSequence) -> None:
        """Takes the first request out of line; a start that never ran has begun its sequence all the same."""
        turn = sequence.turns.popleft()
        if turn.step.start and not turn.granted:
            sequence.state = None

    def _rest(self, sequence: OpenSequence, now_s: float) -> None:
        """Nothing of `sequence` is in line: it is over, it never got a place and is given up, or it is idle."""
        if sequence.placed and not sequence.ending:
            self._idle[sequence] = now_s
            return
        self._forget(sequence)
        self._counts.ended += 1
        if sequence.placed:
            self._free()
        else:
            del self._waiting[sequence]

    def _forget(self, sequence: OpenSequence) -> None:
        """From here on requests of its id are none of its own."""
        sequence.ending = True
        if self._by_id.get(sequence.id) is sequence:
            del self._by_id[sequence.id]

    def _free(self) -> None:
        """A place is free: the sequence that has waited longest gets it."""
        self._placed -= 1
        if self._waiting:
            sequence, _ = self._waiting.popitem(last=False)
            self._place(sequence)
            self._grant(sequence)
