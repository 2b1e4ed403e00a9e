"""`retort` with faults that a test turns on and off by files in a folder: the batch loop raises, or the runner freezes.

`python -m tests.support.faulty_server FOLDER serve ...`. The faults go in where any go in: by the constructor of the
batcher. Each file is a fault:

- `raise`: the batch loop raises once, and the file is gone;
- `raise-always`: it raises whenever it turns;
- `freeze`: runs do not end while it is there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.batching.batcher import Batcher
from service.batching.contract import Engine
from service.batching.seams import BatcherSeams
from service.cli.command_line import main
from service.serving import loader

LOOK_EVERY_S = 0.01
RESTART_AFTER_S = 1.0  # long enough to be seen from outside on a busy machine


class Freezing:
    """An engine whose runs do not end while a file is there."""

    def __init__(self, engine: Engine, file: Path) -> None:
        self._engine = engine
        self._file = file
        self.stop = engine.stop

    def run(self, arrays: Any) -> Any:
        """The run, once the file is gone."""
        while self._file.exists():
            time.sleep(LOOK_EVERY_S)
        return self._engine.run(arrays)


def with_faults(folder: Path) -> type[Batcher]:
    """A batcher that does as the files of `folder` say."""

    def on_pump() -> None:
        once = folder / "raise"
        if once.exists():
            once.unlink()
            raise RuntimeError("a fault of the test")
        if (folder / "raise-always").exists():
            raise RuntimeError("a fault of the test, again")

    class Faulty(Batcher):
        def __init__(self, engines: Sequence[Engine], *more: Any, **knobs: Any) -> None:
            freezing = [Freezing(engine, folder / "freeze") for engine in engines]
            super().__init__(
                freezing, *more, **knobs, seams=BatcherSeams(on_pump=on_pump, restart_after_s=RESTART_AFTER_S)
            )

    return Faulty


if __name__ == "__main__":
    loader.Batcher = with_faults(Path(sys.argv.pop(1)))  # type: ignore[attr-defined, misc]
    sys.exit(main())
