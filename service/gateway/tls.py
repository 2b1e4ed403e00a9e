"""The certificate that both transports show, read again while they serve. TLS 1.2 or newer, HTTP/1.1 alone over HTTP.

Says in the log, once a day, that it is about to end or has ended.

A pair that cannot be used is refused in one sentence: at the start that ends the server, later the old pair stays.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import stat
import time
from collections.abc import Callable
from pathlib import Path

from service.gateway.certificate_end import end_of
from service.observe.logs import Log

HANDSHAKE_LIMIT_S = 5.0  # of a client that connects and does not get on with it; what the head of a request has too
DAY_S = 86_400.0
WARN_BELOW_S = 14 * DAY_S
GOODBYE_LIMIT_S = 1.0  # of a client that does not take part in closing
_MISMATCH = "KEY_VALUES_MISMATCH"


class CertificateRefused(Exception):
    """The certificate and its key cannot be used; one sentence says why."""


class Certificate:
    """A chain of certificates and the private key of its first, as PEM files.

    Args:
        chain: the server's certificate, then those that lead to one that clients know.
        key: without a password.
        log: told of a pair that is read again, and of one that ends.
        now_s: seconds since the epoch, by which clients judge it too.

    Attributes:
        context: of HTTP's connections; new ones show what was read last.
        pem: the private key and the chain that were read last, as gRPC takes them.

    Raises:
        CertificateRefused: a file cannot be read, is no such thing, or they do not belong together.
    """

    def __init__(self, chain: Path, key: Path, log: Log, now_s: Callable[[], float] = time.time) -> None:
        self._chain = chain
        self._key = key
        self._log = log
        self._now_s = now_s
        self.context = _context()
        self.pem, self._end_s = self._read()
        self._warn()

    def read_again(self) -> None:
        """Takes what the files hold now; keeps the old pair where that cannot be used, and says so."""
        try:
            self.pem, self._end_s = self._read()
        except CertificateRefused as error:
            self._log.error("certificate not read again, the old one stays", reason=str(error))
            return
        self._log.info("certificate read again")
        self._warn()

    def left_s(self) -> float:
        """Seconds until the first certificate of the chain in use ends; below zero once it has."""
        return self._end_s - self._now_s()

    async def watch(self, every_s: float = DAY_S) -> None:
        """Warns of an end that is near, for ever."""
        while True:
            await asyncio.sleep(every_s)
            self._warn()

    def _warn(self) -> None:
        left_s = self.left_s()
        if left_s <= 0:
            self._log.error("the certificate has ended: clients refuse it", path=str(self._chain))
        elif left_s < WARN_BELOW_S:
            days = math.floor(left_s / DAY_S)
            self._log.warning("the certificate ends soon", path=str(self._chain), whole_days_left=days)

    def _read(self) -> tuple[tuple[bytes, bytes], float]:
        pem = _bytes_of(self._key), _bytes_of(self._chain)
        self._load_into(_context())  # the live one is left alone unless this works
        try:
            end_s = end_of(pem[1])
        except ValueError:
            raise CertificateRefused(f"when the certificate {self._chain} ends cannot be read") from None
        self._load_into(self.context)
        if pem != (_bytes_of(self._key), _bytes_of(self._chain)):
            raise CertificateRefused(f"{self._chain} or {self._key} changed while they were read")
        return pem, end_s

    def _load_into(self, context: ssl.SSLContext) -> None:
        asked = []

        def no_password() -> str:  # without this OpenSSL would ask at the terminal, and wait
            asked.append(True)
            return ""

        try:
            context.load_cert_chain(self._chain, self._key, no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            if asked:
                raise CertificateRefused(f"the key {self._key} has a password: give one without") from None
            if getattr(error, "reason", None) == _MISMATCH:
                raise CertificateRefused(f"the key {self._key} is not that of the certificate {self._chain}") from None
            raise CertificateRefused(
                f"{self._chain} and {self._key} are no certificate and private key in PEM form"
            ) from None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _bytes_of(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would hold the event loop up until somebody writes
            raise CertificateRefused(f"{path} is no regular file, as keys and certificates must be")
        return path.read_bytes()
    except OSError as error:
        raise CertificateRefused(f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
