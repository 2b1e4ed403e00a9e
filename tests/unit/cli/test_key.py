"""`retort key`: the line knows the key, and only who asked for it sees that."""

from __future__ import annotations

import hashlib

import pytest

from service.gateway.key_file import read_keys
from service.gateway.quota import Quota
from service.gateway.rights import Holder, Right
from tests.unit.cli.conftest import Retort


@pytest.mark.parametrize(
    ("words", "holder"),
    [
        ((), Holder("web", frozenset({Right.INFER}))),
        (("--scope", "infer", "--scope", "admin"), Holder("web", frozenset({Right.INFER, Right.ADMIN}))),
        (("--rate", "50", "--burst", "100"), Holder("web", frozenset({Right.INFER}), Quota(50, 100))),
        (("--rate", "0.1"), Holder("web", frozenset({Right.INFER}), Quota(0.1, 1))),
    ],
)
def test_the_line_is_the_key_s(retort: Retort, words: tuple[str, ...], holder: Holder) -> None:
    outcome = retort("key", "web", *words)
    assert outcome.code == 0
    made = outcome.err.strip()
    assert made.startswith("retort_")
    assert len(made) >= 40
    assert made not in outcome.out
    assert read_keys(outcome.out) == {hashlib.sha256(made.encode()).digest(): holder}


def test_no_two_are_the_same(retort: Retort) -> None:
    assert retort("key", "web").err != retort("key", "web").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("two words",), "the name must be one word"),
        (("we!b",), "the name must be 1 to 64 letters"),
        (("web", "--scope", "everything"), "expected infer, metrics, admin"),
        (("web", "--burst", "5"), "burst needs rate"),
        (("web", "--rate", "0"), "rate must be a number above 0"),
        (("web", "--rate", "nan"), "rate must be a number above 0"),
    ],
)
def test_what_the_server_would_refuse_is_mistyped(retort: Retort, words: tuple[str, ...], told: str) -> None:
    outcome = retort("key", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert told in outcome.err
