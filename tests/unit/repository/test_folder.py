"""M2, M6: nothing is read through a link, a second name, a pipe, or from outside; a read is whole and bounded."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from service.core.errors import BadModel, Unavailable
from service.repository.folder import Folder, path_parts

LIMIT = 1 << 20


@pytest.fixture
def version(tmp_path: Path) -> Path:
    path = tmp_path / "digits" / "1"
    (path / "weights").mkdir(parents=True)
    (path / "model.onnx").write_bytes(b"graph")
    (path / "weights" / "w.bin").write_bytes(b"0123")
    return path


def read(version: Path, location: str, limit_bytes: int = LIMIT, expected_bytes: int | None = None) -> bytes:
    with Folder.at(version, "digits/1") as folder:
        return folder.read(location, limit_bytes=limit_bytes, expected_bytes=expected_bytes)


@pytest.mark.parametrize(("location", "content"), [("model.onnx", b"graph"), ("weights/w.bin", b"0123")])
def test_reads_a_plain_file(version: Path, location: str, content: bytes) -> None:
    assert read(version, location) == content


def test_an_empty_file_is_empty(version: Path) -> None:
    (version / "empty").touch()
    assert read(version, "empty", limit_bytes=0) == b""


@pytest.mark.parametrize(
    "location",
    [
        *("", "/", "/etc/passwd", "..", "../1/model.onnx", "weights/../model.onnx", "./model.onnx", "weights//w.bin"),
        *("weights/", "weights\\w.bin", "C:w.bin", "w\0", "w\n", "*/_ORT_MEM_ADDR_/*", "w\ud800", "a" * 256, "a/" * 9),
    ],
)
def test_a_path_that_is_not_plain_opens_nothing(version: Path, opened: list[str], location: str) -> None:
    with pytest.raises(BadModel, match="plain path"):
        read(version, location)
    assert opened == [str(version)]


@pytest.mark.parametrize("location", ["w.bin", "weights/part 1.bin", "onnx__MatMul_12", "a..b", "...", "é.bin"])
def test_names_that_exporters_write_are_plain(location: str) -> None:
    assert "/".join(path_parts(location)) == location


def make_symlink(path: Path, target: Path) -> None:
    path.symlink_to(target)


def make_hard_link(path: Path, target: Path) -> None:
    path.hardlink_to(target)


def make_linked_folder(path: Path, target: Path) -> None:
    path.parent.joinpath("weights2").symlink_to(target.parent)


def make_pipe(path: Path, target: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path, target: Path) -> None:
    path.mkdir()


def make_socket(path: Path, target: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))


@pytest.mark.parametrize(
    ("make", "location", "said"),
    [
        (make_symlink, "trap", "it is a symbolic link, and none is followed; put a copy of the file there"),
        (make_hard_link, "trap", "hard link"),
        (make_linked_folder, "weights2/secret.bin", "not a directory"),
        (make_pipe, "trap", "not a regular file"),
        (make_folder, "trap", "not a regular file"),
        (make_socket, "trap", "it is a socket"),
    ],
)
def test_whatever_is_not_one_file_of_one_name_gives_no_byte(
    version: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, make, location: str, said: str
) -> None:
    make(version / "trap", outside)
    monkeypatch.setattr(os, "read", lambda *_: pytest.fail("a byte was read"))
    with pytest.raises(BadModel, match=said) as caught:
        read(version, location)
    assert str(version) not in str(caught.value)


def test_negative_control_the_traps_hold_what_a_naive_read_would_give(version: Path, outside: Path) -> None:
    make_symlink(version / "soft", outside)
    make_hard_link(version / "hard", outside)
    assert (version / "soft").read_bytes() == (version / "hard").read_bytes() == outside.read_bytes()


def test_a_missing_file_is_named(version: Path) -> None:
    with pytest.raises(BadModel, match=r"^digits/1 has no readable file 'x\.bin': no such file or directory\.$"):
        read(version, "x.bin")


@pytest.mark.parametrize(
    ("limit_bytes", "expected_bytes", "said"),
    [(4, None, "5 bytes, more than the limit of 4"), (LIMIT, 6, "5 bytes, card.json says 6"), (4, 5, "limit of 4")],
)
def test_a_wrong_size_is_refused_before_reading(
    version: Path, monkeypatch: pytest.MonkeyPatch, limit_bytes: int, expected_bytes: int | None, said: str
) -> None:
    monkeypatch.setattr(os, "read", lambda *_: pytest.fail("a byte was read"))
    with pytest.raises(BadModel, match=said):
        read(version, "model.onnx", limit_bytes, expected_bytes)


@pytest.mark.parametrize("change", [b"longer than it was", b"x"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    version: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    real_fstat = os.fstat

    def fstat_then_change(descriptor: int) -> os.stat_result:
        status = real_fstat(descriptor)
        (version / "model.onnx").write_bytes(change)
        return status

    monkeypatch.setattr(os, "fstat", fstat_then_change)
    with pytest.raises(BadModel, match="changed while it was read"):
        read(version, "model.onnx")


def test_reads_in_pieces_what_one_call_does_not_give(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: real_read(descriptor, min(size, 2)))
    assert read(version, "model.onnx") == b"graph"


def test_a_disk_error_is_a_sentence(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error", str(version))

    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(BadModel, match=r"^digits/1 has no readable file 'model\.onnx': input/output error\.$"):
        read(version, "model.onnx")


@pytest.mark.parametrize(
    ("call", "act", "said"),
    [
        ("scandir", lambda folder: folder.files(), "digits/1 cannot be listed: permission denied."),
        ("scandir", lambda folder: folder.folders(), "digits/1 cannot be listed: permission denied."),
        ("stat", lambda folder: folder.has("card.json"), "digits/1 cannot be searched: permission denied."),
    ],
)
def test_a_folder_that_cannot_be_looked_into_is_a_sentence(
    version: Path, monkeypatch: pytest.MonkeyPatch, call: str, act, said: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(version))

    with Folder.at(version, "digits/1") as folder:
        monkeypatch.setattr(os, call, refuse)
        with pytest.raises(BadModel) as caught:
            act(folder)
        monkeypatch.undo()
    assert str(caught.value) == said


def open_below(folder: Path) -> int:
    """Descriptors of this process that are open on anything in there; other tests' may be closed at any time."""
    descriptors = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(one) and os.readlink(one).startswith(str(folder)) for one in descriptors)


def test_no_descriptor_is_left_open(version: Path, outside: Path) -> None:
    make_symlink(version / "trap", outside)
    before = open_below(version.parent)
    for location in ("model.onnx", "weights/w.bin", "trap", "weights/none", "none/none", ".."):
        with pytest.raises(BadModel) if location not in ("model.onnx", "weights/w.bin") else open(os.devnull):
            read(version, location)
    with Folder.at(version) as folder:
        folder.files()
    assert open_below(version.parent) == before == 0
    with Folder.at(version):
        assert open_below(version.parent) > 0  # the control


def test_lists_files_below_and_follows_no_link(version: Path, outside: Path, opened: list[str]) -> None:
    make_symlink(version / "link", outside)
    (version / "linked").symlink_to(outside.parent)
    (version / "empty").mkdir()
    with Folder.at(version) as folder:
        assert folder.files() == {"model.onnx", "weights/w.bin", "link", "linked"}
        assert sorted(folder.folders()) == ["empty", "weights"]
    assert all(path.startswith(str(version)) for path in opened)


def test_a_child_that_is_a_link_does_not_open(version: Path, outside: Path) -> None:
    (version / "linked").symlink_to(outside.parent)
    with Folder.at(version) as folder, pytest.raises(OSError, match="Not a directory"):
        folder.child("linked")


def test_has_sees_links_and_absence(version: Path) -> None:
    (version / "dangling").symlink_to("nowhere")
    with Folder.at(version) as folder:
        assert folder.has("model.onnx") and folder.has("dangling") and not folder.has("none")


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_a_crowded_folder_is_refused(version: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("service.repository.folder._ENTRIES_LIMIT", 5)
    for number in range(5):
        (version / f"{number}").touch() if kind == "files" else (version / f"{number}").mkdir()
    with Folder.at(version, "digits/1") as folder, pytest.raises(BadModel, match="more than 5 files"):
        folder.files()


def test_a_deep_folder_is_refused(version: Path) -> None:
    (version / "/".join("abcdefgh")).mkdir(parents=True)
    with Folder.at(version, "digits/1") as folder, pytest.raises(BadModel, match="deeper than 8"):
        folder.files()


def test_a_file_that_is_replaced_while_it_is_read_is_read_whole(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card may be replaced at any moment; what was opened then has no name any more, and is no trap."""
    (version / "card.json").write_bytes(b"before")
    (version / "beside").write_bytes(b"after")
    real = os.fstat

    def replaced(descriptor: int) -> os.stat_result:
        if (version / "beside").exists() and stat.S_ISREG(real(descriptor).st_mode):
            os.replace(version / "beside", version / "card.json")
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", replaced)
    assert read(version, "card.json") == b"before"
    assert read(version, "card.json") == b"after"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_file_is_not_said_to_be_broken_where_nothing_can_be_opened(
    version: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    with Folder.at(version, "digits/1") as folder:
        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(Unavailable, match=r"^digits/1 has no readable file 'model.onnx': .*; try again later$"):
            folder.read("model.onnx", limit_bytes=LIMIT)
        monkeypatch.undo()
