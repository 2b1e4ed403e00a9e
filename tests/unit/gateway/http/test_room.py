"""Memory for what is announced is taken as it comes, and goes back."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from service.gateway.http.room import room_for


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_memory_is_taken_as_it_is_filled_and_goes_back_when_nobody_wants_it() -> None:
    room_for(31 << 20)[:] = 1  # and is given back, from which an allocator learns to keep what comes next
    before = resident_bytes()
    rooms = [room_for(15 << 20) for _ in range(32)]
    for room in rooms:
        room[:2000] = 1
    assert resident_bytes() - before < 8 << 20  # 64 MiB where each takes a page of 2 MiB
    for room in rooms[:4]:
        room[:] = 1
    assert resident_bytes() - before > 55 << 20
    del rooms[:-1], room
    assert resident_bytes() - before < 8 << 20


def test_what_the_system_refuses_is_memory_that_is_not_there() -> None:
    with pytest.raises(MemoryError):
        room_for(1 << 47)  # as much as a process may have addresses
