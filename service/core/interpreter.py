"""Starts this very package in a fresh interpreter: what a child process imports is what its parent is.

-P and PYTHONPATH, so that nothing is imported from the working directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(module: str, *arguments: object) -> list[str]:
    """The command line that runs a module of this package."""
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's environment, in which the package is found."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
