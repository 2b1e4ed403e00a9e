"""The way to a remote server: one call at a time, ended by `stop` at once, and tried again once if the way broke.

A broken or silent connection is replaced by a fresh one, so that a remote that comes back is found at the next call and
not when a back-off of gRPC's ends. Knows nothing of tensors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import grpc
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from service.core.errors import RunFailed, Stuck
from service.runtime.triton_failures import failure, is_lost, is_silent

_POLL_S = 0.05
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
        self._channel, self._stub = self._open()

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
        """
        turn = self._begin()
        ends_s = time.monotonic() + timeout_s
        try:
            try:
                return turn.ask(self._stub, method, request, timeout_s, cancel)
            except grpc.RpcError as error:
                left_s = ends_s - time.monotonic()
                self._renew_after(error)
                if not is_lost(error) or left_s <= 0:
                    raise failure(error, timeout_s) from error
            self._on_retry()
            try:
                return turn.ask(self._stub, method, request, left_s, cancel)
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
                self._channel, self._stub = self._open()

    def _open(self) -> tuple[grpc.Channel, Any]:
        channel = grpc.insecure_channel(self._url, self._options)
        return channel, GRPCInferenceServiceStub(channel)


class _Turn:
    """One call with its second try; stopped, neither goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._stopped = False
        self._answer: Any = None

    def ask(self, stub: Any, method: str, request: Any, timeout_s: float, cancel: threading.Event | None) -> Any:
        """Blocks for the answer; raises what the call ended with, Stuck where `stop` or `cancel` ended it."""
        try:
            answer = getattr(stub, method).future(request, timeout=timeout_s)
        except ValueError:  # what gRPC says of a channel that was closed meanwhile
            raise Stuck("the call of the remote server was stopped") from None
        with self._lock:
            self._answer = answer
            stopped = self._stopped
        if stopped:
            answer.cancel()
        try:
            return _result(answer, cancel)
        except grpc.FutureCancelledError:
            raise Stuck("the call of the remote server was stopped") from None
        except grpc.RpcError:
            if self._stopped:
                raise Stuck("the call of the remote server was stopped") from None
            raise

    def stop(self) -> None:
        """Ends what waits, and what would begin."""
        with self._lock:
            self._stopped = True
            answer = self._answer
        if answer is not None:
            answer.cancel()


def _result(answer: Any, cancel: threading.Event | None) -> Any:
    if cancel is None:
        return answer.result()
    while True:
        try:
            return answer.result(timeout=_POLL_S)
        except grpc.FutureTimeoutError:
            if cancel.is_set():
                answer.cancel()
