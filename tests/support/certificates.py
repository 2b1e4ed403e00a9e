"""Certificates made by the `openssl` program for one test: an authority, and servers of it for this machine."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
_NEW = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days")


@dataclass(frozen=True)
class Pair:
    """A certificate that is its own authority, and its private key."""

    chain: Path
    key: Path

    @property
    def options(self) -> list[str]:
        """Of `retort serve`."""
        return ["--tls-cert", str(self.chain), "--tls-key", str(self.key)]


def make_pair(folder: Path, name: str = "server", password: str = "", days: int = 60) -> Pair:
    """A new pair; its key is encrypted where there is a password."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    secret = ["-passout", f"pass:{password}"] if password else ["-noenc"]
    files = ["-keyout", str(pair.key), "-out", str(pair.chain)]
    command = ["openssl", *_NEW, str(days), "-subj", f"/CN={name}", "-addext", _NAMES, *secret, *files]
    subprocess.run(command, check=True, capture_output=True)
    return pair
