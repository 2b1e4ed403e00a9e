"""Memory for a body that was announced: whoever announces much and sends little takes little, and all of it goes back.

An allocator keeps what it was given back for the next one, and numpy asks for pages of 2 MiB for large arrays, so that
a thousand connections of one byte each took 2 GiB. Knows nothing of bodies.
"""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np

_PAGE_BYTES = 2 << 20  # that one byte takes, where numpy asks for it: in arrays of twice as much


def room_for(size_bytes: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Memory of which as much is taken as comes, whatever was announced, and which goes back when nobody wants it.

    Raises:
        MemoryError: the system refuses it.
    """
    if size_bytes < 2 * _PAGE_BYTES:
        return np.empty(size_bytes, np.uint8)
    try:
        own = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError from error
    with suppress(AttributeError, OSError):  # a system that knows no such pages
        own.madvise(mmap.MADV_NOHUGEPAGE, 0, _PAGE_BYTES)
        own.madvise(mmap.MADV_HUGEPAGE, _PAGE_BYTES)  # which are taken quicker, and of which enough has come by then
    return np.frombuffer(own, np.uint8)
