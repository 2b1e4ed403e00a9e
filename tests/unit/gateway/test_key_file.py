"""The file of keys: what it may say, and that a refusal names the line and shows no key."""

from __future__ import annotations

import hashlib

import pytest

from service.gateway.key_file import KeysRefused, read_keys
from service.gateway.quota import Quota
from service.gateway.rights import Holder, Right

SECRET = "c2VjcmV0LXRoYXQtbm9ib2R5LXNlZXM="
HASH = "sha256:" + hashlib.sha256(b"one").hexdigest()
OTHER = "sha256:" + hashlib.sha256(b"two").hexdigest()


def refusal(text: str) -> str:
    with pytest.raises(KeysRefused) as caught:
        read_keys(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "rights", "quota"),
    [
        (f"web infer {HASH}", {Right.INFER}, None),
        (f"  web\tinfer,admin   {HASH.upper().replace('SHA256', 'sha256')}", {Right.INFER, Right.ADMIN}, None),
        (f"web metrics {HASH} # the scraper", {Right.METRICS}, None),
        (f"web infer {HASH} rate=50 burst=100", {Right.INFER}, Quota(50, 100)),
        (f"web infer {HASH} rate=2.5", {Right.INFER}, Quota(2.5, 3)),
        (f"web infer {HASH} burst=1 rate=0.01", {Right.INFER}, Quota(0.01, 1)),
    ],
)
def test_a_line_is_a_key(line: str, rights: set[Right], quota: Quota | None) -> None:
    held = read_keys(f"# keys\n\n{line}\n")
    assert held == {hashlib.sha256(b"one").digest(): Holder("web", frozenset(rights), quota)}


def test_two_keys_of_one_name_are_one_holder_s() -> None:
    held = read_keys(f"web infer {HASH} rate=5\nweb infer {OTHER} rate=5")
    assert len(held) == 2
    assert len(set(held.values())) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it holds no key"),
        ("# nothing\n\n", "it holds no key"),
        (f"a infer {HASH}\n\nweb infer", "line 3: expected a name, scopes and sha256"),
        (f"we!b infer {HASH}", "line 1: the name must be"),
        (f"{'x' * 65} infer {HASH}", "line 1: the name must be"),
        (f"web infre {HASH}", "line 1: the scope 'infre' is not known, expected infer, metrics, admin"),
        (f"web infer, {HASH}", "line 1: the scope is not known"),
        (f"web open {HASH}", "line 1: the scope 'open' is not known"),
        (f"web infer {SECRET}", "line 1: the third word must be sha256: and 64 hexadecimal digits"),
        ("web infer sha256:12ab", "line 1: the third word"),
        (f"web infer {HASH} quota=5", "line 1: the option 'quota' is not known, expected rate= or burst="),
        (f"web infer {HASH} rate", "line 1: rate must be a number above 0"),
        (f"web infer {HASH} rate=0", "line 1: rate must be a number above 0"),
        (f"web infer {HASH} rate=-1", "line 1: rate must be"),
        (f"web infer {HASH} rate=inf", "line 1: rate must be"),
        (f"web infer {HASH} rate=1e9", "line 1: rate must be"),
        (f"web infer {HASH} burst=5", "line 1: burst needs rate"),
        (f"web infer {HASH} rate=5 burst=2.5", "line 1: burst must be a whole number"),
        (f"web infer {HASH} rate=5 rate=6", "line 1: an option is given twice"),
        (f"web infer {HASH}\nops admin {HASH}", "line 2: this key is given twice"),
        (f"web infer {HASH}\nweb admin {OTHER}", "line 2: 'web' has other scopes or options above"),
        (f"web infer {HASH}\nweb infer {OTHER} rate=1", "line 2: 'web' has other scopes or options above"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, words: str) -> None:
    assert words in refusal(text)


@pytest.mark.parametrize(
    "line",
    [
        SECRET,
        f"{SECRET} infer {HASH}",
        f"web {SECRET} {HASH}",
        f"web infer {SECRET}",
        f"web infer {HASH} {SECRET}",
        f"web infer {HASH} rate={SECRET}",
        f"web infer {HASH} {SECRET}=1",
    ],
)
def test_a_key_in_the_wrong_place_is_not_shown(line: str) -> None:
    assert SECRET.rstrip("=") not in refusal(line)
