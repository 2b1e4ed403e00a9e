"""The certificate and key that gRPC shows and asks for at each new connection; it is told of a pair where that is new.

gRPC frees what it made of the old pair without a look at the threads that begin a connection with it just then, which
ends the process: see `add_handshakers` in its ssl_security_connector.cc. So none is replaced by itself, and where one
is renewed the others are let past that point first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import grpc

from service.gateway.tls import Certificate

# What a thread does between asking and being past takes 0.1 ms. In steps: were the process stopped and let go on, one
# long wait would be over at once.
_STEPS = 10
_STEP_S = 0.01


class Pairs:
    """Tells gRPC the pair of a certificate.

    Args:
        certificate: whose pair changes when it is read again.
        sleep: seconds.
    """

    def __init__(self, certificate: Certificate, sleep: Callable[[float], None] = time.sleep) -> None:
        self._certificate = certificate
        self._sleep = sleep
        self._shown = certificate.pem

    def credentials(self) -> Any:
        """What a port is bound with."""
        return grpc.dynamic_ssl_server_credentials(_of(self._shown), self.renewed, require_client_authentication=False)

    def renewed(self) -> Any:
        """The pair where it is another than it was told last, else None. gRPC asks under a lock."""
        pem = self._certificate.pem
        if pem == self._shown:
            return None
        for _ in range(_STEPS):
            self._sleep(_STEP_S)
        self._shown = pem
        return _of(pem)


def _of(pem: tuple[bytes, bytes]) -> Any:
    return grpc.ssl_server_certificate_configuration([pem])
