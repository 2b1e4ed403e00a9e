"""How long `/v2/health/live` takes, asked every few milliseconds from a process of its own, which no test holds up."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from types import TracebackType

from tests.support.openloop import percentile

APART_S = 0.005
HALF_WITHIN_S = 0.05
NEARLY_ALL_WITHIN_S = 0.5  # others use the machine, too
EACH_WITHIN_S = 2.0  # the one, too, that waited while the machine stood still
LEAST = 3
_ASK = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class LiveWatch:
    """Asks while the `with` block lasts.

    Args:
        port: of HTTP.

    Attributes:
        took_s: of each time, once the block is left.
    """

    def __init__(self, port: int) -> None:
        self.took_s: list[float] = []
        self._port = port

    def __enter__(self) -> LiveWatch:
        command = [sys.executable, "-m", "tests.support.live_watch", str(self._port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "asking\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told, _ = self._process.communicate("enough\n", timeout=60)
        self.took_s = json.loads(told)

    def check_prompt(self) -> None:
        """Fails where checks were held up; the slowest may be one that the machine held up."""
        *others, slowest = sorted(self.took_s)
        assert percentile(self.took_s, 50) < HALF_WITHIN_S
        assert percentile(others, 95) < NEARLY_ALL_WITHIN_S
        assert slowest < EACH_WITHIN_S


def watch(port: int) -> list[float]:
    """Asks until there is something to read from standard input, some times at least."""
    took_s: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        print("asking", flush=True)  # noqa: T201
        while len(took_s) < LEAST or not select.select([sys.stdin], [], [], APART_S)[0]:
            began_s = time.monotonic()
            connection.sendall(_ASK)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(4096)
            took_s.append(time.monotonic() - began_s)
    return took_s


if __name__ == "__main__":
    print(json.dumps(watch(int(sys.argv[1]))))  # noqa: T201
