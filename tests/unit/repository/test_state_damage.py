"""A bad disk or bad content costs nothing but the memory of what was active."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.repository.state_file import StateFile
from tests.unit.repository.states import NEW, OLD, read, refusal


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_disk_that_refuses_is_told_and_never_fatal(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = StateFile(path)
    file.write("digits", OLD)
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refusal(path))
        assert file.write("digits", NEW) == "The state file cannot be written: read-only file system."
    assert file.read() == {"digits": NEW}
    assert read(path) == {"digits": OLD}
    assert [entry.name for entry in path.parent.iterdir()] == ["active.json"]
    assert file.write("sst2", OLD) is None
    assert read(path) == {"digits": NEW, "sst2": OLD}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = StateFile(tmp_path / "file" / "active.json").write("digits", NEW)
    assert sentence is not None and str(tmp_path) not in sentence


def test_a_folder_in_the_files_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    file = StateFile(path)
    assert file.problem == "The state file cannot be read: is a directory."
    assert file.write("digits", NEW) == "The state file cannot be written: is a directory."


def document(record: object) -> bytes:
    return json.dumps({"schema": "retort.state/1", "models": {"digits": record}}).encode()


RECORD = {"active": "1", "previous": None, "config_active": None, "forced": False}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"schema": "retort.state/1"}'),
        b'{"schema": "other", "models": {}}',
        b'{"schema": "retort.state/1", "models": []}',
        document(None),
        document({}),
        document({**RECORD, "active": None}),
        document({**RECORD, "active": "../2"}),
        document({**RECORD, "previous": 0}),
        document({**RECORD, "previous": ""}),
        document({**RECORD, "config_active": ["1"]}),
        document({**RECORD, "forced": 1}),
    ],
)
def test_a_damaged_file_is_told_and_replaced_by_the_next_write(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    file = StateFile(path)
    assert file.problem == "The state file is damaged; active versions are chosen as on a first start."
    assert file.read() == {}
    assert file.write("digits", NEW) is None
    assert read(path) == {"digits": NEW}


def test_negative_control_the_record_itself_is_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(document(RECORD))
    assert read(path) == {"digits": OLD}


def test_an_enormous_file_is_damaged(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    os.truncate(path, 1 << 40)
    assert StateFile(path).problem is not None


@given(content=st.binary(max_size=100))
def test_random_content_is_never_fatal(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("state") / "active.json"
    path.write_bytes(content)
    assert StateFile(path).read() == {}
