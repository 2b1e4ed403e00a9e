"""Puts a file in the place of another so that whoever reads sees the old one or the new one, never a part.

Whenever the machine stops, too. Whoever needs the new name itself to be on the disk by then syncs the folder.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def replace_whole(path: Path, content: bytes) -> None:
    """Writes beside, then renames over; its reader is this user alone.

    Raises:
        OSError: it cannot be written; the old file is still there, and nothing else is.
    """
    # A random name: two containers on one volume may have the same process id, and not every file system locks.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
