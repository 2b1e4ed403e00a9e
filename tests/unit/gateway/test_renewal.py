"""Files are read again when told, and when they changed; not otherwise."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.gateway.renewal import Renewal


@dataclass
class Noted:
    """What is read again, and says so."""

    read_again: Callable[[], None]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    paths = tmp_path / "keys", tmp_path / "cert", tmp_path / "key"
    for path in paths:
        path.write_text("1")
    return paths


def renewal_of(files: tuple[Path, Path, Path], look_every_s: float = 10.0) -> tuple[Renewal, list[str]]:
    read: list[str] = []
    keys, cert, key = files
    renewal = Renewal(look_every_s)
    renewal.follow((keys,), lambda: Noted(lambda: read.append("keys")))
    renewal.follow((cert, key), lambda: Noted(lambda: read.append("certificate")))
    return renewal, read


def test_what_did_not_change_is_not_read(files: tuple[Path, Path, Path]) -> None:
    renewal, read = renewal_of(files)
    renewal.read_changed()
    assert read == []


@pytest.mark.parametrize(("place", "who"), [(0, "keys"), (1, "certificate"), (2, "certificate")])
def test_what_changed_is_read_once(files: tuple[Path, Path, Path], place: int, who: str) -> None:
    renewal, read = renewal_of(files)
    files[place].write_text("22")
    for _ in range(3):
        renewal.read_changed()
    assert read == [who]


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_another(files: tuple[Path, Path, Path]) -> None:
    renewal, read = renewal_of(files)
    was = files[0].stat()
    other = files[0].with_name("new")
    other.write_text("2")
    os.utime(other, ns=(was.st_atime_ns, was.st_mtime_ns))
    other.replace(files[0])
    renewal.read_changed()
    assert read == ["keys"]


def test_a_change_within_one_tick_of_the_clock_is_seen(files: tuple[Path, Path, Path]) -> None:
    """Written in place, of the same size, and the time of change is the same."""
    renewal, read = renewal_of(files)
    was = files[0].stat()
    files[0].write_text("2")
    os.utime(files[0], ns=(was.st_atime_ns, was.st_mtime_ns))
    renewal.read_changed()
    renewal.read_changed()
    assert read == ["keys"]


def test_a_change_while_a_file_is_read_for_the_first_time_is_seen(files: tuple[Path, Path, Path]) -> None:
    renewal, read = Renewal(), list[str]()

    def read_first() -> Noted:
        files[0].write_text("2")
        return Noted(lambda: read.append(files[0].read_text()))

    renewal.follow((files[0],), read_first)
    renewal.read_changed()
    assert read == ["2"]


def test_a_look_takes_nothing_out_of_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    renewal, read = Renewal(), list[int]()
    renewal.follow((pipe,), lambda: Noted(lambda: read.append(1)))  # nobody writes: a read would wait for ever
    renewal.read_changed()
    assert read == []


def test_a_file_behind_a_link_that_is_turned_is_read_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys").write_text("x")
    (tmp_path / "data").symlink_to("1")
    read: list[int] = []
    renewal = Renewal()
    renewal.follow((tmp_path / "data" / "keys",), lambda: Noted(lambda: read.append(1)))
    (tmp_path / "turned").symlink_to("2")
    (tmp_path / "turned").replace(tmp_path / "data")
    renewal.read_changed()
    assert read == [1]


def test_a_file_that_goes_and_comes_back_is_read_both_times(files: tuple[Path, Path, Path]) -> None:
    renewal, read = renewal_of(files)
    files[0].unlink()
    renewal.read_changed()
    files[0].write_text("1")
    renewal.read_changed()
    assert read == ["keys", "keys"]


def test_told_to_it_reads_everything(files: tuple[Path, Path, Path]) -> None:
    renewal, read = renewal_of(files)
    files[0].write_text("22")
    renewal.read_all()
    renewal.read_changed()
    assert read == ["keys", "certificate"]


async def test_the_watch_looks_by_itself(files: tuple[Path, Path, Path]) -> None:
    came = asyncio.Event()
    renewal = Renewal(0.001)
    renewal.follow((files[0],), lambda: Noted(came.set))
    watching = asyncio.ensure_future(renewal.watch())
    files[0].write_text("22")
    await asyncio.wait_for(came.wait(), 10)
    watching.cancel()
