"""The scripted server leaves no connection behind, in whatever moment it is ended."""

import gc
import socket
import warnings

from tests.support.scripted import Act, Scripted, answer


def test_connections_that_came_in_the_last_moment_are_closed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(30):
            clients = []
            with Scripted(lambda *_: Act(answer(b"{}"))) as server:
                clients = [socket.create_connection(server.address) for _ in range(3)]
            ends = []
            for client in clients:
                with client:
                    client.settimeout(30)
                    ends.append(_end(client))
            assert ends == [b""] * 3
        gc.collect()  # once: among the objects of a whole run of the tests each takes a second


def _end(client: socket.socket) -> bytes:
    """What the server's end gives: nothing, by an orderly close or a reset."""
    try:
        return client.recv(1)
    except ConnectionResetError:
        return b""
