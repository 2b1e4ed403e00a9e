from __future__ import annotations

import os

import pytest
import typer

from loadtests.commands.cores import parse_cores
from loadtests.commands.tune import _cores


@pytest.fixture(autouse=True)
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four cores, of which this process may use three."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 3})


@pytest.mark.parametrize(("text", "cores"), [("", ()), ("1", (1,)), ("0, 3", (0, 3)), ("3,", (3,))])
def test_a_list_is_read(text: str, cores: tuple[int, ...]) -> None:
    assert parse_cores(text, "--cores") == cores


@pytest.mark.parametrize(("text", "said"), [("one", "no list of cores"), ("1;3", "no list"), ("0,2", "no core 2")])
def test_what_is_none_is_told_with_the_option(text: str, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said) as told:
        parse_cores(text, "--cores")
    assert told.value.param_hint == "--cores"


@pytest.mark.parametrize(
    ("asked", "servers", "generator"),
    [
        ((), (0, 1), (3,)),  # all but the last
        ((0,), (0,), (3,)),
        ((1, 3), (1, 3), (0,)),  # whatever is left
        ((0, 1, 3), (0, 1, 3), (3,)),  # shared, where none is
    ],
)
def test_servers_and_generator_share_the_cores_out(
    asked: tuple[int, ...], servers: tuple[int, ...], generator: tuple[int, ...]
) -> None:
    assert _cores(asked) == (servers, generator)


def test_with_one_core_it_is_left_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert _cores(()) == ((), ())
    assert _cores((0,)) == ((0,), (0,))
