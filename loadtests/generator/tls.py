"""How a connection to a server with a certificate is made, over HTTP and gRPC: plain values that reach a process.

Knows nothing of what travels on it.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards a server.

    Attributes:
        ca: a PEM file of the authorities that are trusted in place of the system's; None for these.
    """

    ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Of HTTP's connections. Raises OSError where `ca` is no such file."""
        return ssl.create_default_context(cafile=self.ca)

    def credentials(self) -> grpc.ChannelCredentials:
        """Of gRPC's channels. Raises OSError where `ca` cannot be read."""
        return grpc.ssl_channel_credentials(None if self.ca is None else self.ca.read_bytes())
