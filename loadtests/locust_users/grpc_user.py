"""A user that asks over gRPC. gRPC's core waits in threads of its own unless it is told to wait with gevent."""

from __future__ import annotations

import itertools
import random
import time

import grpc
import grpc.experimental.gevent
from locust import User, tag, task

from loadtests.generator.block import Answer
from loadtests.generator.grpc_transport import METHOD
from loadtests.locust_users.hooks import material_of, wait
from loadtests.locust_users.options import grpc_host_of

TIMEOUT_S = 10.0
_UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))

# Before the first channel of the process.
grpc.experimental.gevent.init_gevent()


class Refused(Exception):
    """The server, or the way to it, said no; the message is a few words."""


class WrongAnswer(Exception):
    """It answered something else than it should."""


class GrpcUser(User):
    """Asks for one row after the other over a channel of its own."""

    wait_time = wait

    def on_start(self) -> None:
        """Takes what was made ready, and opens the channel."""
        material = material_of(self)
        options = self.environment.parsed_options
        self._channel = grpc.insecure_channel(grpc_host_of(options, self.environment.host or ""), options=_UNLIMITED)
        self._call = self._channel.unary_unary(METHOD)  # bytes in, bytes out
        self._metadata = (("authorization", f"Bearer {material.key}"),) if material.key else ()
        self._requests = material.grpc_requests()
        self._judge = material.judge("grpc")
        self._name = f"grpc {material.name}"
        self._rows = itertools.count(random.randrange(len(self._requests)))  # noqa: S311

    def on_stop(self) -> None:
        """Closes the channel."""
        if hasattr(self, "_channel"):
            self._channel.close()

    @tag("grpc")
    @task
    def infer(self) -> None:
        """One request; its answer is a failure unless it is right."""
        row = next(self._rows) % len(self._requests)
        answer, problem = b"", None
        began_s, start_s = time.perf_counter(), time.time()
        try:
            answer = self._call(self._requests[row], timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            problem = Refused(f"gRPC {error.code().name}: {(error.details() or '')[:200]}")
        took_ms = (time.perf_counter() - began_s) * 1e3
        if problem is None and (fault := self._judge.fault_in(Answer(answer, 0), row)):
            problem = WrongAnswer(fault)
        self.environment.events.request.fire(
            request_type="gRPC",
            name=self._name,
            response_time=took_ms,
            response_length=len(answer),
            exception=problem,
            context=self.context(),
            start_time=start_s,
            url=None,
        )
