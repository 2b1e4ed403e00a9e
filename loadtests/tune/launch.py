"""Becomes another program that ends with its parent: `python -m loadtests.tune.launch PARENT_PID CORES PROGRAM ...`.

CORES are those that it may use, as `0,1`; an empty word leaves them to the system.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from service.core.orphan import die_with


def main(arguments: Sequence[str]) -> None:
    """Never returns."""
    parent_pid, cores, *program = arguments
    die_with(int(parent_pid))
    if cores:
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])  # before it has any thread
    os.execv(program[0], program)  # noqa: S606 - that is its work


if __name__ == "__main__":
    main(sys.argv[1:])
