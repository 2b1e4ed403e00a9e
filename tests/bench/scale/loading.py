"""How long a server takes until it is ready, by the models that it loads: new to the machine, and known to it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.bench.scale.samples import Line
from tests.bench.server import ours
from tests.bench.tiny import write_repository

MODELS = (1, 10, 50, 200)


class _Start(NamedTuple):
    ready_s: float
    taken_s: float
    trials_s: float


def loading(rounds: int) -> list[Line]:
    """By models."""
    new, known = Line("new to the machine, until ready", "s"), Line("known to it, until ready", "s")
    alone = Line("known to it, on one core, until ready", "s")
    server_s, trials_s = Line("known to it, CPU", "s"), Line("trials of what is new, CPU", "s")
    for _ in range(rounds):
        for size in MODELS:
            with TemporaryDirectory() as folder:
                home = Path(folder)
                write_repository(home / "repository", size)
                first = _started(home)
                again = _started(home)
                alone.add(size, _started(home, pinned=True).ready_s)
            new.add(size, first.ready_s)
            known.add(size, again.ready_s)
            server_s.add(size, again.taken_s)
            trials_s.add(size, first.trials_s)
    return [new, known, alone, server_s, trials_s]


def _started(home: Path, *, pinned: bool = False) -> _Start:
    server = ours(home / "repository", home / "state", pinned=pinned)
    try:
        return _Start(server.ready_s, server.taken_s(), server.taken_by_children_s())
    finally:
        server.close()
