"""The checkpoint's file: whole or as before, and whatever is not what was written is refused by a sentence."""

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train import checkpoint  # noqa: E402
from models.train.checkpoint import BadCheckpoint  # noqa: E402

STATE = {"weights": torch.arange(100.0), "steps": 3, "history": [{"loss": 0.1}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoint.write(tmp_path / "run.pt", STATE)
    return tmp_path / "run.pt"


def test_what_is_written_is_read_to_the_bit(path: Path) -> None:
    found = checkpoint.read(path)
    assert torch.equal(found["weights"], STATE["weights"])
    assert (found["steps"], found["history"]) == (3, [{"loss": 0.1}])
    assert [one.name for one in path.parent.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_file_cut_short_is_refused(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadCheckpoint, match=r"run\.pt was cut short or changed since it was written; remove it"):
        checkpoint.read(path)


def test_any_changed_byte_is_noticed(path: Path) -> None:
    data = path.read_bytes()
    for at in range(25, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(BadCheckpoint):
            checkpoint.read(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 a zip"])
def test_another_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"run\.pt is not a checkpoint"):
        checkpoint.read(path)


def test_a_disk_that_refuses_leaves_the_one_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, {"weights": torch.zeros(3)})
    assert torch.equal(checkpoint.read(path)["weights"], STATE["weights"])
    assert [one.name for one in path.parent.iterdir()] == ["run.pt"]


def test_the_file_is_synced_before_it_takes_the_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def noted_replace(self: Path, to: Path) -> Path:
        order.append("name")
        return replace(self, to)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    checkpoint.write(tmp_path / "run.pt", STATE)
    assert order == ["file", "name", "folder"]
