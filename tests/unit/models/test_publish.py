"""Publishing: whole or not at all, never over something else."""

import os
import threading
import time
from pathlib import Path

import pytest

from models import publish as module
from models.publish import AlreadyPublished, publish, publish_config, replace_card

FILES = {"model.onnx": b"graph", "golden.npz": b"cases", "card.json": b"{}"}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_version_is_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    assert publish(tmp_path / "repository" / "digits", "1", FILES)
    folder = tmp_path / "repository" / "digits"
    assert content(folder / "1") == FILES
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert (folder / "1").stat().st_mode & 0o777 == 0o755


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    publish(tmp_path, "1", FILES)
    before = (tmp_path / "1").stat().st_mtime_ns
    assert not publish(tmp_path, "1", dict(FILES))
    assert (tmp_path / "1").stat().st_mtime_ns == before


@pytest.mark.parametrize("other", [FILES | {"model.onnx": b"other"}, FILES | {"more": b""}, {"card.json": b"{}"}, {}])
def test_a_published_version_is_never_changed(tmp_path: Path, other: dict[str, bytes]) -> None:
    publish(tmp_path, "1", FILES)
    with pytest.raises(AlreadyPublished, match="/1 is published already"):
        publish(tmp_path, "1", other)
    assert content(tmp_path / "1") == FILES
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    synced = []

    def sync(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise fault

    monkeypatch.setattr(module.os, "fsync", sync)
    with pytest.raises(type(fault)):
        publish(tmp_path, "1", FILES)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_sees_nothing_or_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, bytes] | None] = []
    real = os.fsync

    def look(descriptor: int) -> None:
        seen.append(content(tmp_path / "1") if (tmp_path / "1").exists() else None)
        real(descriptor)

    monkeypatch.setattr(module.os, "fsync", look)
    publish(tmp_path, "1", FILES)
    assert len(seen) == len(FILES) + 2
    assert all(one in (None, FILES) for one in seen)
    assert seen[-1] == FILES


def test_folders_being_written_are_no_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that is used meanwhile begins with a dot, which no version's id may."""
    names: set[str] = set()
    real = os.fsync

    def look(descriptor: int) -> None:
        names.update(path.name for path in tmp_path.iterdir())
        real(descriptor)

    monkeypatch.setattr(module.os, "fsync", look)
    publish(tmp_path, "1", FILES)
    assert all(name.startswith(".") for name in names - {"1"})


def test_model_yaml_is_written_once_and_then_belongs_to_whoever_runs_the_model(tmp_path: Path) -> None:
    assert publish_config(tmp_path / "digits", b"max_batch_size: 32\n")
    (tmp_path / "digits" / "model.yaml").write_bytes(b"max_batch_size: 4\n")
    assert not publish_config(tmp_path / "digits", b"max_batch_size: 32\n")
    assert content(tmp_path / "digits") == {"model.yaml": b"max_batch_size: 4\n"}


def test_a_card_is_replaced_in_one_step_and_nothing_else_changes(tmp_path: Path) -> None:
    publish(tmp_path, "1", FILES)
    replace_card(tmp_path / "1", b'{"more": 1}')
    assert content(tmp_path / "1") == FILES | {"card.json": b'{"more": 1}'}
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_disk_that_refuses_leaves_the_card_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, "1", FILES)

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        replace_card(tmp_path / "1", b"{}")
    assert content(tmp_path / "1") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_of_two_that_publish_at_once_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one comes in between the look whether the version is there, and the rename."""
    real = module._sync_folder

    def come_in_between(folder: Path) -> None:
        monkeypatch.setattr(module, "_sync_folder", real)
        publish(tmp_path, "1", FILES)
        real(folder)

    for files in (FILES | {"model.onnx": b"other"}, FILES):
        monkeypatch.setattr(module, "_sync_folder", come_in_between)
        if files == FILES:
            assert not publish(tmp_path, "1", files)
        else:
            with pytest.raises(AlreadyPublished, match="/1 is published already"):
                publish(tmp_path, "1", files)
        assert content(tmp_path / "1") == FILES
        assert [path.name for path in tmp_path.iterdir()] == ["1"]
        module.shutil.rmtree(tmp_path / "1")


def test_a_model_yaml_that_came_in_between_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._write

    def come_in_between(path: Path, data: bytes) -> None:
        (tmp_path / "model.yaml").write_bytes(b"theirs")
        real(path, data)

    monkeypatch.setattr(module, "_write", come_in_between)
    assert not publish_config(tmp_path, b"ours")
    assert content(tmp_path) == {"model.yaml": b"theirs"}


def test_cards_replaced_by_two_at_once_are_always_whole(tmp_path: Path) -> None:
    publish(tmp_path, "1", FILES)
    cards = [bytes([letter]) * 200_000 for letter in b"ab"]

    def write(card: bytes) -> None:
        for _ in range(10):
            replace_card(tmp_path / "1", card)

    writers = [threading.Thread(target=write, args=(card,)) for card in cards]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert (tmp_path / "1" / "card.json").read_bytes() in (FILES["card.json"], *cards)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_what_a_killed_process_left_goes_when_it_is_a_day_old(tmp_path: Path) -> None:
    old, new, card = (tmp_path / f".retort-{name}-abcdefgh" for name in ("2", "3", "1-card"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"half")
    card.write_bytes(b"{")
    (tmp_path / ".keep-20260101").mkdir()
    a_day_ago = time.time() - 25 * 3600
    for path in (old, card, tmp_path / ".keep-20260101"):
        os.utime(path, (a_day_ago, a_day_ago))
    publish(tmp_path, "1", FILES)
    assert {path.name for path in tmp_path.iterdir()} == {"1", ".retort-3-abcdefgh", ".keep-20260101"}
