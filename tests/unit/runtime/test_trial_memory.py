"""Which trials passed, across restarts, damaged files and disks that cannot be written."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.runtime import trial_memory
from service.runtime.trial_memory import TrialMemory


@pytest.fixture
def said() -> list[str]:
    return []


def test_remembers_across_restarts(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "trials.json"
    memory = TrialMemory(path, said.append)
    assert not memory.passed("aa", "1.31.1", "cpu")
    memory.remember("aa", "1.31.1", "cpu")
    assert memory.passed("aa", "1.31.1", "cpu")
    again = TrialMemory(path, said.append)
    assert again.passed("aa", "1.31.1", "cpu")
    assert said == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["trials.json"]


@pytest.mark.parametrize("other", [("bb", "1.31.1", "cpu"), ("aa", "1.32.0", "cpu"), ("aa", "1.31.1", "cuda")])
def test_another_file_runtime_or_provider_is_another_trial(
    tmp_path: Path, said: list[str], other: tuple[str, str, str]
) -> None:
    memory = TrialMemory(tmp_path / "trials.json", said.append)
    memory.remember("aa", "1.31.1", "cpu")
    assert not memory.passed(*other)


def test_without_a_path_it_lasts_as_long_as_the_process(said: list[str]) -> None:
    memory = TrialMemory(None, said.append)
    memory.remember("aa", "1", "cpu")
    assert memory.passed("aa", "1", "cpu")
    assert not TrialMemory(None, said.append).passed("aa", "1", "cpu")
    assert said == []


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff\xfe", b"[]", b"{}", b"null", b"[" * 100_000),
        *(b'{"passed": 3}', b'{"passed": [1]}', b'{"passed": null}'),
    ],
)
def test_a_damaged_file_is_reported_and_replaced(tmp_path: Path, said: list[str], content: bytes) -> None:
    path = tmp_path / "trials.json"
    path.write_bytes(content)
    memory = TrialMemory(path, said.append)
    assert not memory.passed("aa", "1", "cpu")
    assert len(said) == 1
    assert "cannot be read" in said[0]
    memory.remember("aa", "1", "cpu")
    assert json.loads(path.read_bytes()) == {"passed": ["aa 1 cpu"]}


def test_a_folder_in_its_place_is_reported(tmp_path: Path, said: list[str]) -> None:
    memory = TrialMemory(tmp_path, said.append)
    memory.remember("aa", "1", "cpu")
    assert memory.passed("aa", "1", "cpu")
    assert ["read" in said[0], "written down" in said[1]] == [True, True]


def test_a_folder_that_may_not_be_entered_is_reported(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways of looking are forbidden here, since root may enter any folder."""

    def forbidden(*_: object, **__: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", forbidden)
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    assert not TrialMemory(tmp_path / "trials.json", said.append).passed("aa", "1", "cpu")
    assert said == ["the memory of passed trials cannot be read, so each version is tried again"]


def test_a_name_that_is_too_long_is_reported(tmp_path: Path, said: list[str]) -> None:
    memory = TrialMemory(tmp_path / ("n" * 300) / "trials.json", said.append)
    memory.remember("aa", "1", "cpu")
    assert memory.passed("aa", "1", "cpu")
    assert ["read" in said[0], "written down" in said[1]] == [True, True]


def test_makes_the_folder_it_needs(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "state" / "retort" / "trials.json"
    TrialMemory(path, said.append).remember("aa", "1", "cpu")
    assert TrialMemory(path, said.append).passed("aa", "1", "cpu")
    assert said == []


def test_what_cannot_be_written_is_reported_and_still_known(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "state").write_text("a file where the folder belongs")
    memory = TrialMemory(tmp_path / "state" / "trials.json", said.append)
    memory.remember("aa", "1", "cpu")
    assert memory.passed("aa", "1", "cpu")
    assert said == ["a passed trial cannot be written down, so it will be run again after a restart"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trials.json"
    memory = TrialMemory(path, said.append)
    memory.remember("aa", "1", "cpu")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    memory.remember("bb", "1", "cpu")
    monkeypatch.undo()
    assert json.loads(path.read_bytes()) == {"passed": ["aa 1 cpu"]}
    assert len(said) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["trials.json"]


def test_the_oldest_are_forgotten_first(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_memory, "_MOST_ENTRIES", 3)
    path = tmp_path / "trials.json"
    memory = TrialMemory(path, said.append)
    for sha256 in ("a", "b", "c", "d"):
        memory.remember(sha256, "1", "cpu")
    assert json.loads(path.read_bytes()) == {"passed": ["b 1 cpu", "c 1 cpu", "d 1 cpu"]}


def test_many_at_once_lose_none(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "trials.json"
    memory = TrialMemory(path, said.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: memory.remember(f"{number}", "1", "cpu"), range(40)))
    assert len(json.loads(path.read_bytes())["passed"]) == 40


def test_two_servers_of_one_process_id_write_past_one_another(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of two containers have, on one volume: the second comes while the first is about to rename its file."""
    path, replace, others = tmp_path / "trials.json", os.replace, [TrialMemory(tmp_path / "trials.json", said.append)]

    def overtaken(source: Path, target: Path) -> None:
        if others:
            others.pop().remember("bb", "1", "cpu")
        replace(source, target)

    monkeypatch.setattr(os, "replace", overtaken)
    TrialMemory(path, said.append).remember("aa", "1", "cpu")
    assert said == []
    assert json.loads(path.read_bytes()) == {"passed": ["aa 1 cpu"]}
