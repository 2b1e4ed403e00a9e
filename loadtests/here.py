"""What this machine tells of a server that runs on it: which process it is, and the energy that the processor used."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

_RAPL = Path("/sys/class/powercap")


def process_at(host: str, port: int) -> psutil.Process | None:
    """The process on this machine that listens there; None where that cannot be told."""
    try:
        here = {info[4][0] for info in socket.getaddrinfo(host, port)}
        if not all(address.startswith("127.") or address == "::1" for address in here):
            return None
        listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
        found = [one.pid for one in listening if one.laddr.port == port and one.pid]
        return psutil.Process(min(found)) if found else None
    except (OSError, psutil.Error):
        return None


def joules() -> float | None:
    """Energy that the processor's packages have used, by RAPL's counters; None where they cannot be read."""
    try:
        counters = [path / "energy_uj" for path in _RAPL.glob("intel-rapl:?")]
        return sum(int(path.read_text()) for path in counters) / 1e6 if counters else None
    except (OSError, ValueError):
        return None
