"""What every call has in common: an id, its sender, its deadline, and errors that end it by the one table.

Cancelling a call cancels its handler, and with it whatever it waits for.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote

import grpc

from service.core.deadline import Deadline
from service.core.errors import RetortError
from service.gateway.access import check_admin_call, check_settings_call, check_shared_memory_call
from service.gateway.budget import ByteBudget, Share
from service.gateway.grpc.arrivals import Arrivals
from service.gateway.grpc.readable import ARRIVED_BYTES
from service.gateway.grpc.rights import key_of, right_of
from service.gateway.keyring import Keyring
from service.gateway.problems import CallProblem, call_problem_of, was_meant
from service.gateway.request_ids import RequestIds
from service.gateway.rights import Holder, Right
from service.observe.logs import REQUEST_ID, Log

T = TypeVar("T")

Context = Any  # grpc.aio's servicer context: the package ships no types for it


class Call:
    """One call as handlers see it.

    Attributes:
        trailing: what its answer carries beside its id.
        share: what its message and its answer hold of the budget.
        holder: whose key it came with; None where the server has no keys.
        peer: where its client is, as gRPC writes it.
        metadata: its texts, by lower-case name.
    """

    def __init__(self, context: Context, ids: RequestIds, path: str, budget: ByteBudget, stream: Call | None) -> None:
        self._context = context
        if stream is None:  # now: for a call that is over gRPC looks at address 0, and in memory that it freed
            self.peer: str = context.peer()
            self.metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        else:
            self.peer, self.metadata = stream.peer, stream.metadata
        self.share = Share(budget)
        self.path = path
        self.began_ns = time.perf_counter_ns()
        self.trailing: tuple[tuple[str, str], ...] = ()
        self.holder: Holder | None = None
        wished = self.metadata.get("x-request-id")
        self.id = ids.new() if wished is None else ids.chosen(wished.encode())

    @property
    def origin(self) -> str:
        """The peer's address without its port, "" where it has none."""
        kind, _, address = self.peer.partition(":")
        if kind not in ("ipv4", "ipv6"):
            return ""
        if "%" in address:  # of the brackets around an IPv6 address
            address = unquote(address)
        return str(address.rpartition(":")[0].strip("[]"))

    @property
    def sender(self) -> str:
        """Who is held to what the call does: the holder of its key, else the peer's address."""
        return self.origin if self.holder is None else self.holder.name

    def deadline(self, now_s: float) -> Deadline:
        """The call's own deadline, run or not; the parameter `timeout` bounds the wait for a run alone."""
        left_s = self._context.time_remaining()
        return Deadline.never() if left_s is None else Deadline.after(now_s, left_s)

    def check_admin(self) -> None:
        """Raises Forbidden unless the peer may change what is served."""
        check_admin_call(self.origin, self.metadata, self.holder)

    def check_settings(self) -> None:
        """Raises Forbidden unless the peer may change what is traced or logged."""
        check_settings_call(self.origin, self.metadata, self.holder)

    def check_shared_memory(self) -> None:
        """Raises Forbidden unless the peer may use shared memory."""
        check_shared_memory_call(self.origin, self.metadata, self.holder)


class Calls:
    """Runs handlers.

    Args:
        responses: gRPC code -> calls that ended so; counted here.
        log: gets what was not raised on purpose.
        access_log: gets one line an answer; None logs none.
        keyring: who may do what; None for a server without keys.
        budget: of the bytes in flight; None for as many as come.
        arrivals: where calls wait for their messages; None for some of its own.

    Attributes:
        budget: as given.
    """

    def __init__(
        self,
        responses: Counter[str],
        log: Log,
        access_log: Log | None = None,
        keyring: Keyring | None = None,
        budget: ByteBudget | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        self._keyring = keyring
        self.budget = budget or ByteBudget(sys.maxsize)
        self._arrivals = arrivals or Arrivals(self.budget)
        self._responses = responses
        self._log = log
        self._access_log = access_log
        self._ids = RequestIds()

    def call(self, context: Context, path: str, stream: Call | None = None) -> Call:
        """The call of `context` to the method `path`; log lines bear its id from now on.

        Args:
            context: which must be there yet where no `stream` is given.
            path: of the method.
            stream: the call that brought the request, if that is one of many.
        """
        call = Call(context, self._ids, path, self.budget, stream)
        REQUEST_ID.set(call.id)
        return call

    def admit(self, call: Call) -> None:
        """Charges a call to the holder of its key. Raises Unauthenticated, Forbidden, OverQuota."""
        if self._keyring is not None:
            self.identify(call)
            if call.holder is not None:
                self._keyring.charge(call.holder)

    def identify(self, call: Call) -> None:
        """Whose key the call came with, where its method asks for one. Raises Unauthenticated, Forbidden."""
        if self._keyring is not None and (right := right_of(call.path)) is not Right.OPEN:
            call.holder = self._keyring.identify(key_of(call.metadata), right)

    async def answer(self, context: Context, path: str, handler: Callable[[Any, Call], Awaitable[T]]) -> T:
        """What `handler` makes of the message; an error ends the call by its code, with the request's id beside it."""
        call = self.call(context, path)
        # The context tells when the answer is sent, of which a large one takes its time.
        context.add_done_callback(lambda _: call.share.end())
        try:
            answer = await self._answer(context, handler, call)
        except asyncio.CancelledError:
            self.ended("CANCELLED", call)
            raise
        except Exception as error:
            problem = self.failed(error, call)
        else:
            self.ended("OK", call)
            context.set_trailing_metadata((("x-request-id", call.id), *call.trailing))
            return answer
        # Not where the error is at hand, nor in a frame that has the message: gRPC keeps what `abort` raises in a cycle
        # with the call, and all that it leads to, which would be the whole request, until the collector comes.
        await self._abort(context, problem, call)

    async def _answer(self, context: Context, handler: Callable[[Any, Call], Awaitable[T]], call: Call) -> T:
        self.admit(call)
        message = await self._arrivals.message(context)
        call.share.take(ARRIVED_BYTES.get())
        return await handler(message, call)

    async def _abort(self, context: Context, problem: CallProblem, call: Call) -> NoReturn:
        trailing = (("x-request-id", call.id), *call.trailing, *_trailing(problem))
        await context.abort(grpc.StatusCode[problem.code], problem.sentence, trailing)
        raise AssertionError("`abort` has raised already")

    async def open(self, context: Context, path: str) -> Call:
        """Lets a stream begin, whose requests are charged one by one; ends it where its key may not."""
        call = self.call(context, path)
        try:
            self.identify(call)
        except RetortError as error:
            await self.end(context, self.failed(error, call))
        return call

    async def end(self, context: Context, problem: CallProblem) -> None:
        """Ends a stream, whose answers were counted one by one, by a code: raises."""
        await context.abort(grpc.StatusCode[problem.code], problem.sentence, _trailing(problem))

    def ended(self, code: str, call: Call) -> None:
        """Counts an answer, and gives it its line."""
        self._responses[code] += 1
        if self._access_log is not None:
            ms = round((time.perf_counter_ns() - call.began_ns) / 1e6, 3)
            holder = {} if call.holder is None else {"key": call.holder.name}
            line = {"method": "gRPC", "path": call.path, "status": code, "ms": ms, "peer": call.origin, **holder}
            self._access_log.info("request", **line)

    def failed(self, error: Exception, call: Call) -> CallProblem:
        """How `error` is told; counts it, and logs what was not raised on purpose."""
        if not was_meant(error):
            self._log.error("internal error", exc_info=error)
        problem = call_problem_of(error, call.id)
        self.ended(problem.code, call)
        return problem


def _trailing(problem: CallProblem) -> tuple[tuple[str, str], ...]:
    return () if problem.retry_after_s is None else (("retry-after", str(problem.retry_after_s)),)
