"""How a request comes in: its level, how long it may wait there, whether it is let in, and its pieces.

Knows nothing of who runs it, and has it ended by others.
"""

from __future__ import annotations

from service.batching.admission import Admission
from service.batching.batch import Stacking
from service.batching.contract import BatchConfig
from service.batching.levels import Levels, limit_s
from service.batching.queue import Queue
from service.batching.suspects import Suspects
from service.batching.ticket import Ticket, cut
from service.core.contract import Arrays


class Intake:
    """Lets tickets in.

    Args:
        config: the version's knobs.
        admission: says who is let in.
        suspects: who is run alone.
        stacking: gives pieces their keys.
    """

    def __init__(self, config: BatchConfig, admission: Admission, suspects: Suspects, stacking: Stacking) -> None:
        self._config = config
        self._levels = Levels(config)
        self._admission = admission
        self._suspects = suspects
        self._stacking = stacking

    def check(self, queue: Queue, *, held: int, now_s: float) -> None:
        """Raises Rejected where a request is not let in whatever it says; its level, if there are any, it must say."""
        if not self._levels.count:
            self._admission.check(queue, 0, self._levels.policies[0].max_queue - held, now_s)

    def take(
        self,
        queue: Queue,
        ticket: Ticket,
        inputs: Arrays,
        rows: int | None,
        *,
        priority: int = 0,
        timeout_s: float | None = None,
        held: int = 0,
    ) -> None:
        """Gives a new ticket its level, its time to wait and its pieces; it is not yet in the books nor in the queue.

        Args:
            queue: what waits already.
            ticket: who asks, and until when.
            inputs: name -> array of shape [rows, ...].
            rows: of every input; None where there is no batch axis.
            priority: as the client gave it; 0 for none.
            timeout_s: how long it is ready to wait to be run; None leaves it to the policy of its level.
            held: answers that wait for their turn.

        Raises:
            Expired, Rejected: it is not let in.
        """
        levels, quiet = self._levels, ticket.quiet
        level = levels.of(priority, quiet=quiet) if levels.count else 0
        policy = levels.policies[level]
        ticket.level, ticket.rank, ticket.delays = level, 2 * level, policy.delays
        if not quiet and not (timeout_s is None and policy.default_timeout_s is None):
            ticket.wait_until_s = ticket.arrived_s + limit_s(policy, timeout_s)
        self._admission.admit(queue, rows or 1, ticket, policy.max_queue - held)
        if self._config.mixes:
            alone = self._suspects.suspected(ticket.origin, ticket.arrived_s)
            cut(ticket, inputs, rows, max_rows=self._config.max_rows, alone=alone, key=self._stacking.key)
        else:
            cut(ticket, inputs, rows, max_rows=rows or 1, alone=True)
