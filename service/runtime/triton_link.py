"""The way to a remote server: one call at a time, ended by `stop` at once, and tried again once if the way broke.

A broken or silent connection is replaced by a fresh one, so that a remote that comes back is found at the next call and
not when a back-off of gRPC's ends. Knows nothing of tensors.

Methods are called as streams of one answer, in gRPC's single-threaded form: the one way of its that is blocking, can be
cancelled from another thread, and needs no thread of its own (0.34 ms a call to a server beside; 0.65 by a future).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from types import MappingProxyType
from typing import Any

import grpc
from grpc.experimental import ChannelOptions
from tritonclient.grpc import service_pb2

from service.core.errors import RunFailed, Stuck
from service.runtime.spare_threads import start_thread
from service.runtime.triton_failures import failure, is_lost, is_silent

_POLL_S = 0.05
_STOPPED = "the call of the remote server was stopped"
# Pings go out only while a call waits, and at most two of them (gRPC's default): servers count more as an attack.
OPTIONS: Mapping[str, int] = MappingProxyType(
    {
        "grpc.max_send_message_length": -1,
        "grpc.max_receive_message_length": -1,
        "grpc.keepalive_time_ms": 10_000,
        "grpc.keepalive_timeout_ms": 5_000,
        "grpc.http2.ping_timeout_ms": 5_000,  # of the pings above; without it gRPC waits a minute for their answer
        "grpc.use_local_subchannel_pool": 1,  # else a fresh channel would inherit the back-off of the one before
        "grpc.enable_retries": 0,  # of gRPC's own, which nobody counts
        "grpc.enable_http_proxy": 0,
        ChannelOptions.SingleThreadedUnaryStream: 1,
    }
)


class Link:
    """A channel, renewed where it broke. `call` by one thread at a time; `stop` and `close` by any.

    Args:
        url: host:port.
        on_retry: called before a call is made again.
        options: of the channel.
    """

    def __init__(
        self, url: str, on_retry: Callable[[], None] = lambda: None, options: Mapping[str, int] = OPTIONS
    ) -> None:
        self._url = url
        self._on_retry = on_retry
        self._options = list(options.items())
        self._lock = threading.Lock()  # guards _turn and _closed, between the calling thread and others
        self._turn: _Turn | None = None
        self._closed = False
        self._channel = self._open()

    def call(self, method: str, request: Any, timeout_s: float, cancel: threading.Event | None = None) -> Any:
        """Calls the method of that name and blocks for its answer.

        Args:
            method: of GRPCInferenceService.
            request: its message.
            timeout_s: of both tries together.
            cancel: set from another thread to give up; noticed within 0.05 s.

        Raises:
            RetortError: as `triton_failures` says.
            Stuck: no answer in time, stopped, or cancelled.
            Unavailable: there is no thread to watch `cancel`.
        """
        turn = self._begin()
        ends_s = time.monotonic() + timeout_s
        try:
            with turn.until(cancel):
                try:
                    return turn.ask(self._channel, method, request, timeout_s)
                except grpc.RpcError as error:
                    left_s = ends_s - time.monotonic()
                    self._renew_after(error)
                    if not is_lost(error) or left_s <= 0:
                        raise failure(error, timeout_s) from error
                self._on_retry()
                try:
                    return turn.ask(self._channel, method, request, left_s)
                except grpc.RpcError as error:
                    self._renew_after(error)
                    raise failure(error, timeout_s) from error
        finally:
            self._turn = None

    def stop(self) -> None:
        """Ends the call in flight at once; without one, does nothing."""
        with self._lock:
            turn = self._turn
        if turn is not None:
            turn.stop()

    def close(self) -> None:
        """Ends the call in flight and gives the connection back."""
        with self._lock:
            self._closed = True
        self.stop()
        self._channel.close()

    def _begin(self) -> _Turn:
        with self._lock:
            if self._closed:
                raise RunFailed("this version is closed")
            self._turn = turn = _Turn()
        return turn

    def _renew_after(self, error: grpc.RpcError) -> None:
        if not (is_lost(error) or is_silent(error)):
            return
        with self._lock:
            if not self._closed:
                self._channel.close()
                self._channel = self._open()

    def _open(self) -> grpc.Channel:
        return grpc.insecure_channel(self._url, self._options)


class _Turn:
    """One call with its second try; stopped, neither goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._stopped = False
        self._answers: Any = None

    def ask(self, channel: grpc.Channel, method: str, request: Any, timeout_s: float) -> Any:
        """Blocks for the answer; raises what the call ended with, Stuck where `stop` ended it."""
        try:
            answers = _method(channel, method)(request, timeout=timeout_s)
        except ValueError:  # what gRPC says of a channel that was closed meanwhile
            raise Stuck(_STOPPED) from None
        with self._lock:
            self._answers = answers
            stopped = self._stopped
        if stopped:
            answers.cancel()
        try:
            answer, *_ = islice(answers, 2)  # the second is the end of the call, which is waited for
        except grpc.RpcError:
            if self._stopped:
                raise Stuck(_STOPPED) from None
            raise
        except ValueError:
            raise RunFailed("the remote server ended the call without an answer") from None
        return answer

    def stop(self) -> None:
        """Ends what waits, and what would begin."""
        with self._lock:
            self._stopped = True
            answers = self._answers
        if answers is not None:
            answers.cancel()

    @contextmanager
    def until(self, cancel: threading.Event | None) -> Iterator[None]:
        """Stops this turn once `cancel` is set; None never is. Raises Unavailable: there is no thread to watch it."""
        if cancel is None:
            yield
            return
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_POLL_S):
                if cancel.is_set():
                    self.stop()
                    return

        start_thread(threading.Thread(target=watch, name="remote-cancel", daemon=True))
        try:
            yield
        finally:
            done.set()


def _method(channel: grpc.Channel, name: str) -> Any:
    return channel.unary_stream(
        f"/inference.GRPCInferenceService/{name}",
        request_serializer=getattr(service_pb2, f"{name}Request").SerializeToString,
        response_deserializer=getattr(service_pb2, f"{name}Response").FromString,
    )
