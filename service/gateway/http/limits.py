"""What one HTTP connection may take of the server before it has asked for anything, and in what time.

The times bound who sends or reads too slowly, never how long an answer may take to be made.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

_CONNECTIONS_LIMIT = 16_384
_OF_DESCRIPTORS = 0.75  # the rest is for gRPC, files of models and what the libraries open


@dataclass(frozen=True, slots=True)
class Limits:
    """See the module; the README and docs/howto/limits.md tell the same to operators and clients.

    Attributes:
        head_bytes: of a request's head, request line included; beyond is 431.
        head_fields: header fields of one request; beyond is 431.
        head_s: from the first byte of a head, or from a connection's begin, to the head's end; beyond is 408.
        window_s: in any such time a body must come on by `window_bytes` or to its end, and a client must take as much
            of an answer; else it is 408, or the connection is cut.
        window_bytes: see `window_s`.
        idle_s: how long a connection may rest between two requests.
        linger_s: how long a refused client may go on sending, so that its answer is not lost with a reset.
        pipelined: requests on one connection that wait for the answer to the one before; beyond, it is closed after
            the last of them.
        framing_bytes: what a chunked body may have beside its data, if it is more than the data: chunk sizes,
            extensions, trailers; beyond is 400.
        connections: open at once; beyond is 503.
        look_s: between two looks at these times, so how late one may be.
    """

    head_bytes: int = 16 << 10
    head_fields: int = 100
    head_s: float = 5.0
    window_s: float = 10.0
    window_bytes: int = 10 << 10
    idle_s: float = 75.0
    linger_s: float = 2.0
    pipelined: int = 128
    framing_bytes: int = 64 << 10
    connections: int = _CONNECTIONS_LIMIT
    look_s: float = 0.25

    def too_much_framing(self, wire_bytes: int, body_bytes: int) -> bool:
        """Whether a body of `body_bytes` came in so many bytes that it can only mean harm."""
        return wire_bytes > self.framing_bytes + 2 * body_bytes


def raise_descriptor_limit() -> int:
    """Raises this process's soft limit of open descriptors to its hard one; returns what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard


def connections_within(descriptors: int) -> int:
    """How many connections may be open where a process may open so many `descriptors`; -1 stands for no limit."""
    if descriptors < 0:
        return _CONNECTIONS_LIMIT
    return max(1, min(_CONNECTIONS_LIMIT, int(descriptors * _OF_DESCRIPTORS)))
