"""Is there memory for one more version beside those that serve? Asked before its weights are built.

Knows sizes alone; nothing of accelerators.
"""

from __future__ import annotations

from service.core.errors import DoesNotFit
from service.repository.store import VersionFiles
from service.runtime.memory import available_bytes


def check_fits(files: VersionFiles, instances: int) -> None:
    """Refuses a version for which there is not enough memory.

    Each instance holds its weights, and the bytes that they come from are held until the last one is built.

    Raises:
        DoesNotFit: says how much it needs and how much is free.
    """
    needed, available = files.bytes_total * (1 + instances), available_bytes()
    if needed > available:
        raise DoesNotFit(
            f"version '{files.version}' of model '{files.model}' needs about {needed >> 20} MiB, "
            f"and {available >> 20} MiB are free"
        )
