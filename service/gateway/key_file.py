"""The file of keys: a line for each, of its holder's name, scopes, the key's SHA-256, and options.

    # name   scopes          SHA-256 of the key    options
    web      infer           sha256:5e88...        rate=50 burst=100
    deploy   infer,admin     sha256:0d1c...

Lines of one name are keys of one holder, which is how a key is replaced. A refusal names the line and never shows what
could be a key that was put in the wrong place. Knows nothing of requests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from service.gateway.quota import Quota
from service.gateway.rights import GRANTED, Holder, Right

Digest = bytes  # SHA-256 of a key

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")
_SHOWN = re.compile(r"[a-z_]{1,12}")  # too short and too plain for a key
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_OPTIONS = ("rate", "burst")
_WORDS = 3


class KeysRefused(Exception):
    """The file of keys cannot be used; one sentence says where, and what was expected."""


def read_keys(text: str) -> Mapping[Digest, Holder]:
    """The holder of each key, by the key's SHA-256.

    Raises:
        KeysRefused: a line is wrong, or there is no key.
    """
    lines = [(number, line.split("#", 1)[0].split()) for number, line in enumerate(text.splitlines(), start=1)]
    found: dict[Digest, Holder] = {}
    holders: dict[str, Holder] = {}
    for number, words in lines:
        if not words:
            continue
        try:
            digest, holder = _entry(words)
            if digest in found:
                raise KeysRefused("this key is given twice")
            if holders.setdefault(holder.name, holder) != holder:
                raise KeysRefused(f"'{holder.name}' has other scopes or options above, and all its keys share them")
        except KeysRefused as error:
            raise KeysRefused(f"line {number}: {error}") from None
        found[digest] = holder
    if not found:
        raise KeysRefused("it holds no key: `retort key NAME` makes one")
    return found


def _entry(words: list[str]) -> tuple[Digest, Holder]:
    if len(words) < _WORDS:
        raise KeysRefused("expected a name, scopes and sha256:..., as `retort key NAME` prints them")
    name, scopes, coded = words[:_WORDS]
    if not _NAME.fullmatch(name):
        raise KeysRefused("the name must be 1 to 64 letters, digits, '.', '_' or '-'")
    match = _HASH.fullmatch(coded)
    if match is None:
        raise KeysRefused("the third word must be sha256: and 64 hexadecimal digits, never the key itself")
    return bytes.fromhex(match[1]), Holder(name, _rights(scopes), _quota(words[_WORDS:]))


def _rights(text: str) -> frozenset[Right]:
    known = {right.value: right for right in GRANTED}
    for word in text.split(","):
        if word not in known:
            raise KeysRefused(f"the scope{_shown(word)} is not known, expected {', '.join(known)}")
    return frozenset(known[word] for word in text.split(","))


def _quota(words: list[str]) -> Quota | None:
    pairs = [word.partition("=") for word in words]
    for name, equals, value in pairs:
        if name not in _OPTIONS:
            raise KeysRefused(f"the option{_shown(name)} is not known, expected rate= or burst=")
        if not equals or not _NUMBER.fullmatch(value) or float(value) <= 0:
            raise KeysRefused(f"{name} must be a number above 0")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise KeysRefused("an option is given twice")
    given = {name: value for name, _, value in pairs}
    if "rate" not in given:
        if given:
            raise KeysRefused("burst needs rate beside it, the requests a second")
        return None
    rate = float(given["rate"])
    burst = given.get("burst", str(math.ceil(rate)))
    if not burst.isdigit():
        raise KeysRefused("burst must be a whole number of requests")
    return Quota(rate, int(burst))


def _shown(word: str) -> str:
    return f" '{word}'" if _SHOWN.fullmatch(word) else ""
