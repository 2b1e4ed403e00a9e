"""The real data and models that TEST_DATA may hold: a folder of it, or the test is skipped and says which is missing.

Only a whole folder may be missing. A name that is none of them, or a file that its folder lacks, is a failure: a slip
of the pen would otherwise skip its test for ever.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDERS = frozenset({"banking77", "cifar10", "mnist", "resnet-cifar10", "sst2", "traces"})


def real_data(folder: str) -> Path:
    """This folder of TEST_DATA; skips the test that asks where it is not there.

    Raises:
        ValueError: there is no folder of this name to be had.
    """
    if folder not in FOLDERS:
        raise ValueError(f"{folder!r} is none of {', '.join(sorted(FOLDERS))}.")
    root = os.environ.get("TEST_DATA")
    if not root:
        pytest.skip(f"TEST_DATA is not set; its {folder}/ is wanted")
    found = Path(root) / folder
    if not found.is_dir():
        pytest.skip(f"TEST_DATA holds no {folder}/")
    return found
