"""The bytes of requests and answers that are in flight, over HTTP and gRPC together, within one budget.

Taken as they arrive, so that what a client announces and never sends costs others nothing; given back when the answer
was sent. A part is for small requests alone, which go on while large ones are refused. Lives on the event loop. Knows
nothing of transports.
"""

from __future__ import annotations

from service.core.contract import Arrays
from service.core.errors import Rejected, TooLarge

SMALL_BYTES = 256 << 10
_FOR_SMALL = 8  # an eighth
_TEXT_BYTES = 56  # of memory for a text beside its bytes: an object, and the place of it
_MIB = 1 << 20


def beside_bytes(inputs: Arrays, binary_bytes: int) -> int:
    """What the inputs of a request take, for as long as it is there, beside the bytes in which they came.

    Args:
        inputs: texts, each an object of its own; numbers that came as JSON or typed, of 8 bytes where two came; and
            those that came as binary data, of which nothing more is kept.
        binary_bytes: of binary data, in the body and in shared memory.
    """
    texts = numbers_bytes = 0
    for array in inputs.values():
        if array.dtype.kind == "O":
            texts += array.size
        else:
            numbers_bytes += array.nbytes
    return _TEXT_BYTES * texts + max(0, numbers_bytes - binary_bytes)


class ByteBudget:
    """See the module.

    Args:
        limit_bytes: in flight at once.

    Attributes:
        large_limit_bytes: in flight at once where a request that holds more than `SMALL_BYTES` takes more.
        used_bytes: in flight now.
    """

    __slots__ = ("large_limit_bytes", "limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.large_limit_bytes = limit_bytes - limit_bytes // _FOR_SMALL
        self.used_bytes = 0


class Share:
    """What one request holds.

    Args:
        budget: where it is taken from.
    """

    __slots__ = ("_budget", "_held_bytes")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Takes more.

        Raises:
            Rejected: there is not so much left; what is held already is kept until `end`.
            TooLarge: there never is.
        """
        budget = self._budget
        small = self._held_bytes + size_bytes <= SMALL_BYTES
        if budget.used_bytes + size_bytes > (budget.limit_bytes if small else budget.large_limit_bytes):
            self.check(size_bytes)
            raise Rejected(f"requests and answers in flight hold all of their {budget.limit_bytes // _MIB} MiB")
        budget.used_bytes += size_bytes
        self._held_bytes += size_bytes

    def check(self, size_bytes: int) -> None:
        """Raises TooLarge where so much more would not fit with nothing else in flight: to try again is of no use."""
        wanted_bytes, budget = self._held_bytes + size_bytes, self._budget
        most_bytes = budget.limit_bytes if wanted_bytes <= SMALL_BYTES else budget.large_limit_bytes
        if wanted_bytes > most_bytes:
            raise TooLarge(
                f"the request, with its answer, takes {wanted_bytes} bytes or more, and RETORT_MAX_IN_FLIGHT_BYTES "
                f"has room for {most_bytes} of one request"
            )

    def end(self) -> None:
        """Gives all of it back; again: nothing."""
        self._budget.used_bytes -= self._held_bytes
        self._held_bytes = 0
