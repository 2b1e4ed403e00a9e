"""What a server and its clients know each other by: the keys that they hold, and the certificate that it shows."""

from __future__ import annotations

import ssl
from pathlib import Path

from service.core.clock import Clock
from service.gateway.keyring import Keyring
from service.gateway.renewal import Renewal
from service.gateway.tls import Certificate
from service.observe.logs import Log


class Credentials:
    """The files that were named, read.

    Args:
        keys: the file of keys; None for none.
        certificate: the chain and its key; None for plain connections.
        clock: monotonic seconds, for quotas.
        log: told what is read again.

    Attributes:
        renewal: reads them again; None where there is nothing to read.

    Raises:
        KeysRefused, CertificateRefused: what was named cannot be used.
    """

    def __init__(self, keys: Path | None, certificate: tuple[Path, Path] | None, clock: Clock, log: Log) -> None:
        renewal = Renewal()
        self.keyring = self.certificate = None
        if keys is not None:
            self.keyring = renewal.follow((keys,), lambda: Keyring(keys, clock, log))
        if certificate is not None:
            self.certificate = renewal.follow(certificate, lambda: Certificate(*certificate, log))
        self.renewal = renewal if self.keyring or self.certificate else None

    @property
    def context(self) -> ssl.SSLContext | None:
        """Of HTTP's connections; None for plain ones."""
        return None if self.certificate is None else self.certificate.context
