"""Whose key it is, what they may do and how often; and what a file that is read again changes."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gateway.access import Forbidden, OverQuota, Unauthenticated
from service.gateway.key_file import KeysRefused
from service.gateway.keyring import Keyring, key_in
from service.gateway.rights import GRANTED, Right
from service.observe import logs
from tests.fakes import ManualClock
from tests.support.logs import capture_logs


def line(name: str, scopes: str, key: str, options: str = "") -> str:
    return f"{name} {scopes} sha256:{hashlib.sha256(key.encode()).hexdigest()} {options}\n"


WEB, OPS, SCRAPER = line("web", "infer", "web-key"), line("ops", "admin", "ops-key"), line("scr", "metrics", "scr-key")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(WEB + OPS + SCRAPER)
    path.chmod(0o600)
    return path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keyring(file: Path, clock: ManualClock) -> Keyring:
    return Keyring(file, clock, logs.logger("test"))


@pytest.mark.parametrize("key", [None, b"", b"web-kez", b"WEB-KEY", b"web-key ", b"\xff" * 1000, b"web"])
@pytest.mark.parametrize("right", GRANTED)
def test_nobody_s_key_opens_nothing(keyring: Keyring, key: bytes | None, right: Right) -> None:
    with pytest.raises(Unauthenticated, match="a key is needed" if key is None else "the key is not known"):
        keyring.admit(key, right)
    assert keyring.requests["", "unknown"] == 1


@pytest.mark.parametrize(
    ("key", "right", "may"),
    [
        (b"web-key", Right.INFER, True),
        (b"web-key", Right.METRICS, False),
        (b"web-key", Right.ADMIN, False),
        (b"scr-key", Right.INFER, False),
        (b"scr-key", Right.METRICS, True),
        (b"scr-key", Right.ADMIN, False),
        *((b"ops-key", right, True) for right in GRANTED),
    ],
)
def test_a_key_opens_what_its_scopes_say(keyring: Keyring, key: bytes, right: Right, may: bool) -> None:
    name = key.decode().removesuffix("-key")
    if may:
        assert keyring.admit(key, right).name == name
    else:
        with pytest.raises(Forbidden, match=f"the key of '{name}' has no scope '{right.value}'"):
            keyring.admit(key, right)
    assert keyring.requests[name, "accepted" if may else "forbidden"] == 1


def test_a_quota_is_its_holder_s_own(file: Path, clock: ManualClock) -> None:
    file.write_text(line("web", "infer", "web-key", "rate=2 burst=3") + line("app", "infer", "app-key", "rate=1") + OPS)
    keyring = Keyring(file, clock, logs.logger("test"))
    for _ in range(3):
        keyring.admit(b"web-key", Right.INFER)
    with pytest.raises(OverQuota, match="'web' may make 2 requests a second") as caught:
        keyring.admit(b"web-key", Right.INFER)
    assert caught.value.retry_after_s == 1
    keyring.admit(b"app-key", Right.INFER)
    for _ in range(100):
        keyring.admit(b"ops-key", Right.INFER)
    clock.advance(0.5)
    keyring.admit(b"web-key", Right.INFER)
    assert (keyring.requests["web", "accepted"], keyring.requests["web", "over_quota"]) == (4, 1)


def test_two_keys_of_one_holder_share_a_quota(file: Path, clock: ManualClock) -> None:
    file.write_text(line("web", "infer", "old", "rate=1 burst=2") + line("web", "infer", "new", "rate=1 burst=2"))
    keyring = Keyring(file, clock, logs.logger("test"))
    keyring.admit(b"old", Right.INFER)
    keyring.admit(b"new", Right.INFER)
    for key in (b"old", b"new"):
        with pytest.raises(OverQuota):
            keyring.admit(key, Right.INFER)


def test_a_refused_request_costs_nothing_of_a_quota(file: Path, clock: ManualClock) -> None:
    file.write_text(line("web", "infer", "web-key", "rate=1 burst=1"))
    keyring = Keyring(file, clock, logs.logger("test"))
    with pytest.raises(Forbidden):
        keyring.admit(b"web-key", Right.ADMIN)
    keyring.admit(b"web-key", Right.INFER)


def test_a_file_that_is_read_again_replaces_the_keys_at_once(keyring: Keyring, file: Path) -> None:
    file.write_text(line("web", "infer", "new-key") + OPS)
    assert keyring.admit(b"web-key", Right.INFER), "not before it is told"
    with capture_logs() as lines:
        keyring.read_again()
    assert [(told["event"], told["keys"]) for told in lines] == [("keys read again", 2)]
    assert keyring.admit(b"new-key", Right.INFER).name == "web"
    with pytest.raises(Unauthenticated):
        keyring.admit(b"web-key", Right.INFER)


def test_reading_again_gives_no_quota_back_unless_it_is_another(file: Path, clock: ManualClock) -> None:
    file.write_text(line("web", "infer", "web-key", "rate=1 burst=1"))
    keyring = Keyring(file, clock, logs.logger("test"))
    keyring.admit(b"web-key", Right.INFER)
    keyring.read_again()
    with pytest.raises(OverQuota):
        keyring.admit(b"web-key", Right.INFER)
    file.write_text(line("web", "infer", "web-key", "rate=5 burst=1"))
    keyring.read_again()
    keyring.admit(b"web-key", Right.INFER)


@pytest.mark.parametrize("text", ["", "web infer nonsense", None])
def test_a_file_that_went_wrong_keeps_the_old_keys_and_says_so(keyring: Keyring, file: Path, text: str | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with capture_logs() as lines:
        keyring.read_again()
    assert [(told["event"], told["log_level"]) for told in lines] == [
        ("keys not read again, the old ones hold", "error")
    ]
    assert keyring.admit(b"web-key", Right.INFER).name == "web"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: no such file"),
        (b"\xff\xfe", "is wrong: it is not UTF-8 text"),
        (b"#" * (1 << 20) + b"##", "is wrong: it is larger than 1 MiB"),
        (b"web infer", "is wrong: line 1: expected"),
    ],
)
def test_what_cannot_be_used_at_the_start_is_refused(
    tmp_path: Path, clock: ManualClock, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(KeysRefused, match=words):
        Keyring(tmp_path / "keys", clock, logs.logger("test"))


def test_a_pipe_in_its_place_holds_nobody_up(keyring: Keyring, file: Path) -> None:
    file.unlink()
    os.mkfifo(file)
    with capture_logs() as lines:
        keyring.read_again()
    assert "is no regular file" in lines[0]["reason"]
    assert keyring.admit(b"web-key", Right.INFER).name == "web"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o440, False), (0o644, True), (0o602, True)])
def test_a_file_that_every_user_can_open_is_told(file: Path, clock: ManualClock, mode: int, warned: bool) -> None:
    file.chmod(mode)
    with capture_logs() as lines:
        Keyring(file, clock, logs.logger("test"))
    assert bool(lines) is warned


def test_every_name_is_counted_from_the_start(keyring: Keyring) -> None:
    outcomes = {(name, what) for name in ("web", "ops", "scr") for what in ("accepted", "forbidden", "over_quota")}
    assert keyring.requests == dict.fromkeys(outcomes | {("", "unknown")}, 0)


def basic(text: bytes) -> bytes:
    return b"Basic " + base64.b64encode(text)


@given(st.one_of(st.none(), st.binary(), st.builds(basic, st.binary())), st.one_of(st.none(), st.binary()))
def test_whatever_a_client_sends_is_a_key_or_none(authorization: bytes | None, api_key: bytes | None) -> None:
    assert isinstance(key_in(authorization, api_key), bytes | None)


@pytest.mark.parametrize(
    ("authorization", "api_key", "key"),
    [
        (b"Bearer k", None, b"k"),
        (b"bearer   k ", None, b"k"),
        (None, b"k", b"k"),
        (b"Bearer k", b"other", b"k"),
        (basic(b"anybody:k"), None, b"k"),
        (basic(b":k:with:colons"), None, b"k:with:colons"),
        (b"Basic ?", None, None),
        (basic(b"no colon"), None, None),
        (b"Bearer", None, None),
        (b"Bearer ", b"k", None),
        (b"k", None, None),
        (b"Digest k", b"k", None),
        (b"", None, None),
        (None, None, None),
    ],
)
def test_where_a_key_is_looked_for(authorization: bytes | None, api_key: bytes | None, key: bytes | None) -> None:
    assert key_in(authorization, api_key) == key
