"""What every call has in common: an id, its sender, its deadline, and errors that end it by the one table.

Cancelling a call cancels its handler, and with it whatever it waits for.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import unquote

import grpc
from structlog.stdlib import BoundLogger

from service.core.deadline import Deadline
from service.gateway.access import check_admin_call, check_shared_memory_call
from service.gateway.http.request_head import RequestIds
from service.gateway.problems import CallProblem, call_problem_of, was_meant
from service.observe.logs import REQUEST_ID

T = TypeVar("T")

Context = Any  # grpc.aio's servicer context: the package ships no types for it


class Call:
    """One call as handlers see it."""

    def __init__(self, context: Context, ids: RequestIds) -> None:
        self._context = context
        self.id = ids.chosen(self.metadata.get("x-request-id", "").encode())

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The texts of the call's metadata, by lower-case name."""
        return {name: value for name, value in self._context.invocation_metadata() or () if isinstance(value, str)}

    @cached_property
    def origin(self) -> str:
        """The peer's address without its port, "" where it has none."""
        kind, _, address = unquote(self._context.peer()).partition(":")
        return address.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""

    def deadline(self, now_s: float) -> Deadline:
        """The call's own deadline, run or not; the parameter `timeout` bounds the wait for a run alone."""
        left_s = self._context.time_remaining()
        return Deadline.never() if left_s is None else Deadline.after(now_s, left_s)

    def check_admin(self) -> None:
        """Raises Forbidden unless the peer may change what is served."""
        check_admin_call(self.origin, self.metadata)

    def check_shared_memory(self) -> None:
        """Raises Forbidden unless the peer may use shared memory."""
        check_shared_memory_call(self.origin, self.metadata)


class Calls:
    """Runs handlers.

    Args:
        responses: gRPC code -> calls that ended so; counted here.
        log: gets what was not raised on purpose.
    """

    def __init__(self, responses: Counter[str], log: BoundLogger) -> None:
        self._responses = responses
        self._log = log
        self._ids = RequestIds()

    def call(self, context: Context) -> Call:
        """The call of `context`, whose log lines bear its id from now on."""
        call = Call(context, self._ids)
        REQUEST_ID.set(call.id)
        return call

    async def answer(self, context: Context, handler: Callable[[Call], Awaitable[T]]) -> T:
        """What `handler` returns; an error ends the call by its code, with the request's id beside it."""
        call = self.call(context)
        trailing: tuple[tuple[str, str], ...] = (("x-request-id", call.id),)
        try:
            answer = await handler(call)
        except asyncio.CancelledError:
            self._responses["CANCELLED"] += 1
            raise
        except Exception as error:
            problem = self.failed(error, call)
            if problem.retry_after_s is not None:
                trailing = (*trailing, ("retry-after", str(problem.retry_after_s)))
            await context.abort(grpc.StatusCode[problem.code], problem.sentence, trailing)
            raise  # `abort` has raised already
        self.succeeded()
        context.set_trailing_metadata(trailing)
        return answer

    def succeeded(self) -> None:
        """Counts an answer."""
        self._responses["OK"] += 1

    def failed(self, error: Exception, call: Call) -> CallProblem:
        """How `error` is told; counts it, and logs what was not raised on purpose."""
        if not was_meant(error):
            self._log.error("internal error", exc_info=error)
        problem = call_problem_of(error, call.id)
        self._responses[problem.code] += 1
        return problem
