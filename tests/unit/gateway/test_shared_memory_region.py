from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.errors import BadInput
from service.gateway import shared_memory_region
from service.gateway.shared_memory_region import Region

CONTENT = bytes(range(256))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "object").write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def region(folder: Path) -> Region:
    return Region.open(folder, "r", "object", 16, 64)


@pytest.fixture
def outside(folder: Path) -> Iterator[Path]:
    """A file beside the folder, which no key may reach."""
    secret = folder.parent / f"{folder.name}.secret"
    secret.write_bytes(CONTENT)
    yield secret
    secret.unlink()


@pytest.mark.parametrize("key", ["object", "/object"])
def test_an_object_is_opened_under_both_ways_to_write_its_name(folder: Path, key: str) -> None:
    region = Region.open(folder, "r", key, 16, 64)
    assert region.read(0, 64) == CONTENT[16:80]
    assert region.status() == {"name": "r", "key": key, "offset": 16, "byte_size": 64}


def test_what_is_written_lies_in_the_object_and_nowhere_else(folder: Path, region: Region) -> None:
    region.write(8, b"hello")
    assert (folder / "object").read_bytes() == CONTENT[:24] + b"hello" + CONTENT[29:]


@pytest.mark.parametrize(
    "key",
    [
        "../{secret}",
        "/../{secret}",
        "./object",
        "//object",
        "{absolute}",
        "sub/object",
        "object/",
        ".",
        "..",
        "/..",
        "/",
        "",
    ],
)
def test_no_key_leads_out_of_the_folder(folder: Path, outside: Path, key: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "object").write_bytes(CONTENT)
    named = key.format(secret=outside.name, absolute=outside)
    assert not named.startswith("../") or (folder / named).is_file(), "the way out would be there"
    with pytest.raises(BadInput, match="expected the plain name of an object"):
        Region.open(folder, "r", named, 0, 16)


@pytest.mark.parametrize("key", [None, 5, True, ["object"], b"object", "a" * 256, "ob\0ject", "sem.lock", "/sem.lock"])
def test_a_key_is_a_short_text_and_no_semaphore(folder: Path, key: object) -> None:
    (folder / "sem.lock").write_bytes(CONTENT)
    with pytest.raises(BadInput, match="expected the plain name of an object"):
        Region.open(folder, "r", key, 0, 16)


@pytest.mark.parametrize("key", ["\ud800", "missing", "a" * 255])
def test_an_object_that_is_not_there_is_said_without_its_folder(folder: Path, key: str) -> None:
    with pytest.raises(BadInput, match="Unable to open shared memory region") as refused:
        Region.open(folder, "r", key, 0, 16)
    assert str(folder) not in str(refused.value)


def test_no_link_is_followed(folder: Path, outside: Path) -> None:
    (folder / "link").symlink_to(outside)
    (folder / "loop").symlink_to(folder / "object")
    for key in ("link", "loop"):
        with pytest.raises(BadInput, match="Unable to open"):
            Region.open(folder, "r", key, 0, 16)


def test_a_folder_and_a_pipe_are_refused_at_once(folder: Path) -> None:
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    for key in ("sub", "pipe"):
        with pytest.raises(BadInput, match=r"Unable to open|no plain object"):
            Region.open(folder, "r", key, 0, 16)


class TestOwnership:
    """The server must not lend its own rights: root opens everything, so the owner and the mode decide."""

    @pytest.mark.parametrize(
        ("mode", "allowed"), [(0o600, False), (0o660, False), (0o606, True), (0o666, True), (0o604, False)]
    )
    def test_another_users_object_must_be_everybodys(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, mode: int, allowed: bool
    ) -> None:
        (folder / "object").chmod(mode)
        monkeypatch.setattr(shared_memory_region.os, "geteuid", lambda: os.stat(folder / "object").st_uid + 1)
        if allowed:
            assert Region.open(folder, "r", "object", 0, 16).read(0, 16) == CONTENT[:16]
        else:
            with pytest.raises(BadInput, match="another user's"):
                Region.open(folder, "r", "object", 0, 16)

    def test_the_servers_own_may_be_private(self, folder: Path) -> None:
        (folder / "object").chmod(0o600)
        assert Region.open(folder, "r", "object", 0, 16).read(0, 16) == CONTENT[:16]


@pytest.mark.parametrize(("offset", "size"), [(0, 257), (256, 1), (200, 57), (1 << 62, 1), (0, (1 << 63) - 1)])
def test_an_object_that_is_too_short_is_refused(folder: Path, offset: int, size: int) -> None:
    with pytest.raises(BadInput, match="the object has 256 bytes"):
        Region.open(folder, "r", "object", offset, size)


def test_the_whole_object_may_be_a_region_and_none_of_it_may_not(folder: Path) -> None:
    assert Region.open(folder, "r", "object", 0, 256).read(0, 256) == CONTENT
    with pytest.raises(BadInput, match="'byte_size' of region 'r' is 0"):
        Region.open(folder, "r", "object", 0, 0)


@pytest.mark.parametrize(("offset", "size"), [(0, 65), (64, 1), (1 << 62, 1), (60, 5)])
def test_a_span_outside_the_region_is_refused_though_the_object_has_it(region: Region, offset: int, size: int) -> None:
    with pytest.raises(BadInput, match="Invalid offset"):
        region.check(offset, size)
    if size <= 65:
        with pytest.raises(BadInput, match="Invalid offset"):
            region.write(offset, b"x" * size)


def test_the_last_byte_and_no_byte_at_the_end_lie_inside(region: Region) -> None:
    region.check(63, 1)
    region.check(64, 0)
    region.write(63, b"x")
    assert region.read(64, 0) == b""


_MAPPED = """
import mmap, os, resource, sys
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with open(sys.argv[1], "r+b") as file:
    mapping = mmap.mmap(file.fileno(), 256)
os.truncate(sys.argv[1], 0)
mapping[100]
"""


class TestShortenedAfterwards:
    """A mapping would end the process here."""

    def test_a_mapping_would(self, folder: Path) -> None:
        ended = subprocess.run([sys.executable, "-c", _MAPPED, str(folder / "object")], check=False)
        assert ended.returncode == -signal.SIGBUS

    def test_reading_is_an_error(self, folder: Path, region: Region) -> None:
        os.truncate(folder / "object", 40)
        assert region.read(0, 24) == CONTENT[16:40]
        with pytest.raises(BadInput, match="'r' was shortened"):
            region.read(0, 25)

    def test_writing_is_an_error_and_makes_the_object_no_longer(self, folder: Path, region: Region) -> None:
        os.truncate(folder / "object", 40)
        with pytest.raises(BadInput, match="'r' was shortened"):
            region.write(20, b"hello")
        region.write(19, b"hello")
        assert (folder / "object").stat().st_size == 40

    def test_grown_again_it_is_read_again(self, folder: Path, region: Region) -> None:
        os.truncate(folder / "object", 0)
        os.truncate(folder / "object", 256)
        assert region.read(0, 64) == bytes(64)


def test_what_cannot_be_written_is_said(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_memory_region.os, "pwrite", full)
    with pytest.raises(BadInput, match="cannot be written: no space left on device"):
        region.write(0, b"hello")


def test_short_steps_of_the_system_are_taken_on(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(shared_memory_region.os, "pread", lambda d, size, at: pread(d, min(size, 7), at))
    monkeypatch.setattr(shared_memory_region.os, "pwrite", lambda d, blob, at: pwrite(d, blob[:7], at))
    region.write(0, CONTENT[100:164])
    assert region.read(0, 64) == CONTENT[100:164]


def test_the_object_is_held_even_where_its_name_is_gone_or_another_objects(folder: Path, region: Region) -> None:
    (folder / "object").unlink()
    (folder / "object").write_bytes(b"another" * 50)
    assert region.read(0, 64) == CONTENT[16:80]


def open_descriptors(path: Path) -> int:
    """Those of this process that are open on it; other tests' may be closed at any time."""
    descriptors = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(one) and os.readlink(one) == str(path) for one in descriptors)


def test_the_object_is_closed_with_the_last_holder_and_after_every_refusal(folder: Path) -> None:
    gc.collect()
    before = open_descriptors(folder / "object")
    region = Region.open(folder, "r", "object", 0, 16)
    other = region
    del region
    assert open_descriptors(folder / "object") == before + 1
    assert other.read(0, 1) == CONTENT[:1]
    del other
    assert open_descriptors(folder / "object") == before
    for size in (257, 0):
        with pytest.raises(BadInput):
            Region.open(folder, "r", "object", 0, size)
    gc.collect()
    assert open_descriptors(folder / "object") == before


def test_when_no_descriptor_is_left_the_client_is_told(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.open(folder / "object", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))
    try:
        with pytest.raises(BadInput, match="too many open files"):
            Region.open(folder, "r", "object", 0, 16)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(taken)
