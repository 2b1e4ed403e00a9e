"""What happens beside the traffic: swaps, and clients that are slow. Each is a context manager with marks in time.

A mark is a moment on the machine's monotonic clock, the one that the generator's blocks begin on, and a few words.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from loadtests.generator.tls import Tls
from loadtests.scenario import SlowClients, Swapping
from loadtests.server import Server

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was tried at a moment, and whether it was done."""

    at_s: float
    text: str
    done: bool = True


@contextmanager
def swapping(server: Server, model: str, versions: Sequence[str], how: Swapping, marks: list[Mark]) -> Iterator[None]:
    """Swaps the model from version to version in turn until the block ends; each swap leaves a mark.

    The gate is overridden: which of the versions may answer is what the run is to tell.
    """
    ended = threading.Event()

    def swap_in_turn() -> None:
        with server.client() as http:
            for version in itertools.cycle(versions):
                if ended.wait(how.every_s):
                    return
                began_s = time.perf_counter()
                marks.append(Mark(began_s, *swap(http, model, version)))

    with _beside("swaps", swap_in_turn, ended):
        yield


def swap(http: httpx.Client, model: str, version: str) -> tuple[str, bool]:
    """Makes a version active, whatever the gate says; returns what came of it in words, and whether it was done."""
    path = f"/v2/repository/models/{quote(model, safe='')}/swap"
    try:
        answer = http.post(path, json={"version": version, "force": True})
    except httpx.HTTPError as error:
        return f"swap to {version} failed: {error}", False
    done = answer.status_code == httpx.codes.OK
    return f"swap to {version}" if done else f"swap to {version} refused ({answer.status_code})", done


@contextmanager
def slow_clients(address: Address, request: bytes, how: SlowClients, tls: Tls | None = None) -> Iterator[None]:
    """Keeps so many connections open that send a request byte by byte; one that the server closes is opened again.

    All are there from the begin on.
    """
    ended, context = threading.Event(), None if tls is None else tls.context()
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(_Slow(address, request, context)) for _ in range(how.count)]

        def step() -> None:
            for client in clients:
                client.step()

        def trickle() -> None:
            while not ended.wait(how.byte_every_s):
                step()

        step()
        with _beside("slow clients", trickle, ended):
            yield


@contextmanager
def _beside(name: str, work: Callable[[], None], ended: threading.Event) -> Iterator[None]:
    """Has a thread do `work` while the block runs, then sets `ended` and waits for it."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Slow:
    """One slow connection."""

    def __init__(self, address: Address, request: bytes, context: ssl.SSLContext | None) -> None:
        self._address, self._request, self._context = address, request, context
        self._socket: socket.socket | None = None
        self._at = 0

    def __enter__(self) -> _Slow:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def step(self) -> None:
        """Sends the next byte; begins anew where the server ended the connection, or the request is whole."""
        if self._socket is None or self._at == len(self._request):
            self._close()
            with contextlib.suppress(OSError):
                self._socket = self._connected()
            return
        try:
            self._socket.send(self._request[self._at : self._at + 1])
            self._at += 1
        except OSError:
            self._close()

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(self._address, timeout=1)
        if self._context is None:
            return plain
        try:
            return self._context.wrap_socket(plain, server_hostname=self._address[0])
        except OSError:
            plain.close()
            raise

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._at = None, 0
