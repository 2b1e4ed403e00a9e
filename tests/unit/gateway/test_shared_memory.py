from __future__ import annotations

from pathlib import Path

import pytest

from service.core.errors import BadInput, Conflict, NotFound, TooLarge
from service.gateway.access import Forbidden
from service.gateway.shared_memory import SharedMemory

CONTENT = bytes(range(256))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(CONTENT)
    return tmp_path


@pytest.fixture
def shared(folder: Path) -> SharedMemory:
    return SharedMemory(True, 100, folder=folder, regions_limit=3)


def allow() -> None:
    """A sender who may."""


def refuse() -> None:
    raise Forbidden("not from here")


def test_regions_are_listed_until_they_are_unregistered(shared: SharedMemory) -> None:
    shared.register("one", "a", 0, 64)
    shared.register("two", "/a", 32, 64)
    one = {"name": "one", "key": "a", "offset": 0, "byte_size": 64}
    two = {"name": "two", "key": "/a", "offset": 32, "byte_size": 64}
    assert shared.status(None) == [one, two]
    assert shared.status("two") == [two]
    shared.unregister("one")
    shared.unregister("never there")
    assert shared.status(None) == [two]
    shared.unregister(None)
    assert shared.status(None) == []
    with pytest.raises(NotFound, match="Unable to find system shared memory region: 'two'"):
        shared.status("two")


def test_a_name_is_given_once_until_it_is_free_again(shared: SharedMemory) -> None:
    shared.register("one", "a", 0, 64)
    with pytest.raises(Conflict, match="shared memory region 'one' already in manager"):
        shared.register("one", "b", 0, 64)
    assert shared.status("one")[0]["key"] == "a"
    shared.unregister("one")
    shared.register("one", "b", 0, 64)
    assert shared.status("one")[0]["key"] == "b"


def test_there_are_no_more_regions_than_the_limit(shared: SharedMemory) -> None:
    for name in "xyz":
        shared.register(name, "a", 0, 1)
    with pytest.raises(TooLarge, match="there are 3 shared memory regions"):
        shared.register("w", "a", 0, 1)
    shared.unregister("x")
    shared.register("w", "a", 0, 1)


def test_a_region_that_a_request_still_holds_counts(shared: SharedMemory) -> None:
    for name in "xyz":
        shared.register(name, "a", 0, 1)
    held = shared.for_request(allow).target("x", 0, 1)
    shared.unregister(None)
    for name in "vw":
        shared.register(name, "a", 0, 1)
    with pytest.raises(TooLarge):
        shared.register("u", "a", 0, 1)
    del held
    shared.register("u", "a", 0, 1)


@pytest.mark.parametrize("name", ["", "n" * 256])
def test_a_name_has_a_length(shared: SharedMemory, name: str) -> None:
    with pytest.raises(BadInput, match="must have 1 to 255 characters"):
        shared.register(name, "a", 0, 1)


@pytest.mark.parametrize("wrong", [-1, 1 << 63, 1 << 200, 1.0, "1", True, None, [1]])
@pytest.mark.parametrize("which", ["offset", "byte_size"])
def test_numbers_are_whole_and_have_63_bits(shared: SharedMemory, which: str, wrong: object) -> None:
    with pytest.raises(BadInput, match=f"'{which}' of the region must be a whole number of bytes"):
        shared.register("one", "a", **{"offset": 0, "byte_size": 1, which: wrong})
    assert shared.status(None) == []


def test_a_region_that_cannot_be_opened_takes_no_place(shared: SharedMemory) -> None:
    for _ in range(5):
        with pytest.raises(BadInput):
            shared.register("one", "missing", 0, 1)
    assert shared.status(None) == []


class TestRequests:
    def test_bytes_are_copied_out(self, shared: SharedMemory, folder: Path) -> None:
        shared.register("one", "a", 16, 64)
        copied = shared.for_request(allow).read("one", 4, 8)
        (folder / "a").write_bytes(bytes(256))
        assert copied == CONTENT[20:28]

    def test_regions_may_overlap_in_one_object(self, shared: SharedMemory) -> None:
        shared.register("one", "a", 0, 64)
        shared.register("two", "a", 32, 64)
        request = shared.for_request(allow)
        request.target("one", 40, 4).write(40, b"over")
        assert request.read("two", 8, 4) == b"over"

    def test_a_span_must_lie_inside(self, shared: SharedMemory) -> None:
        shared.register("one", "a", 0, 64)
        request = shared.for_request(allow)
        for use in (request.read, request.target):
            with pytest.raises(BadInput, match="'one' has 64 bytes, 8 at 60 were asked for"):
                use("one", 60, 8)

    def test_a_region_must_be_registered(self, shared: SharedMemory) -> None:
        request = shared.for_request(allow)
        for use in (request.read, request.target):
            with pytest.raises(BadInput, match="Unable to find shared memory region: 'none'"):
                use("none", 0, 1)

    def test_a_request_reads_no_more_than_its_limit_altogether(self, shared: SharedMemory) -> None:
        shared.register("one", "a", 0, 256)
        request = shared.for_request(allow)
        request.read("one", 0, 60)
        request.read("one", 0, 40)
        with pytest.raises(TooLarge, match="more than 100 bytes from shared memory"):
            request.read("one", 0, 1)
        assert len(shared.for_request(allow).read("one", 0, 100)) == 100

    def test_a_sender_who_may_not_learns_nothing(self, shared: SharedMemory) -> None:
        shared.register("one", "a", 0, 64)
        request = shared.for_request(refuse)
        for use in (request.read, request.target):
            for name in ("one", "none"):
                with pytest.raises(Forbidden):
                    use(name, 0, 1)

    def test_an_answer_under_way_reaches_a_region_that_was_unregistered(
        self, shared: SharedMemory, folder: Path
    ) -> None:
        shared.register("one", "a", 0, 64)
        target = shared.for_request(allow).target("one", 0, 5)
        shared.unregister("one")
        shared.register("one", "b", 0, 64)
        target.write(0, b"hello")
        assert (folder / "a").read_bytes()[:5] == b"hello"
        assert (folder / "b").read_bytes() == CONTENT


def test_cuda_regions_are_refused_and_there_are_none(shared: SharedMemory) -> None:
    assert shared.cuda_status(None) == []
    shared.unregister_cuda()
    with pytest.raises(NotFound, match="Unable to find cuda shared memory region: 'c'"):
        shared.cuda_status("c")
    with pytest.raises(BadInput, match="CUDA shared memory is not supported"):
        shared.register_cuda()


def test_off_means_that_every_use_is_refused_with_the_setting_that_turns_it_on(folder: Path) -> None:
    shared = SharedMemory(False, 100, folder=folder)
    request = shared.for_request(allow)
    for use in (
        lambda: shared.register("one", "a", 0, 1),
        lambda: shared.unregister(None),
        lambda: shared.unregister("one"),
        lambda: shared.status(None),
        shared.register_cuda,
        shared.unregister_cuda,
        lambda: shared.cuda_status(None),
        lambda: request.read("one", 0, 1),
        lambda: request.target("one", 0, 1),
    ):
        with pytest.raises(BadInput, match=r"--shared-memory, or RETORT_SHARED_MEMORY=true"):
            use()
