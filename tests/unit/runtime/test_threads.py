"""Cores and threads."""

from __future__ import annotations

import os

import pytest

from service.runtime.threads import intra_op_threads, usable_cores


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [
        (8, None, 8),
        (8, 2.0, 2),
        (8, 1.5, 2),  # rounded up: half a core more is better used than left
        (8, 0.1, 1),
        (2, 16.0, 2),
        (1, None, 1),
    ],
)
def test_usable_cores(monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    assert usable_cores(lambda: quota) == expected


@pytest.mark.parametrize(("counted", "expected"), [(6, 6), (None, 1)])
def test_without_affinity_the_machine_is_counted(
    monkeypatch: pytest.MonkeyPatch, counted: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cores(lambda: None) == expected


def test_here() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("asked", "instances", "cores", "expected"),
    [
        (None, 1, 8, 8),
        (None, 2, 8, 4),
        (None, 3, 8, 2),
        (None, 16, 8, 1),
        (None, 0, 8, 8),
        (4, 2, 8, 4),  # asked for: taken as it is
        (64, 1, 8, 64),
        (0, 1, 8, 1),
    ],
)
def test_intra_op_threads(asked: int | None, instances: int, cores: int, expected: int) -> None:
    assert intra_op_threads(asked, instances, cores) == expected
