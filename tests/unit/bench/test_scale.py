"""The measurement of scale: figures in units of the smallest size, of the same round; and a picture that shows them."""

from __future__ import annotations

import pytest

from tests.bench.scale import picture, waiting
from tests.bench.scale.samples import Line, by_name


def line(name: str = "let in", unit: str = "us") -> Line:
    """Twice as dear at 100, on a machine that is three times as slow in every second round."""
    made = Line(name, unit)
    for speed in (1.0, 3.0, 1.0, 3.0, 1.0):
        made.add(1, 5.0 * speed)
        made.add(100, 10.0 * speed)
    return made


def test_a_ratio_is_of_figures_of_the_same_round() -> None:
    told = line().to_json()
    assert (told["unit"], told["rounds"]) == ("us", 5)
    assert told["sizes"]["1"] == {"median": 5.0, "ratio": [1.0, 1.0, 1.0]}
    assert told["sizes"]["100"] == {"median": 10.0, "ratio": [2.0, 2.0, 2.0]}


def test_a_size_that_misses_a_round_is_an_error_and_no_ratio() -> None:
    made = line()
    made.add(100, 10.0)
    with pytest.raises(ValueError, match="shorter"):
        made.to_json()


def test_the_picture_shows_costs_and_times_of_every_part_and_nothing_else() -> None:
    lines = [line(), line("memory", "MB"), line("known to it, until ready", "s")]
    drawn = picture.drawn({part: by_name(lines) for part in ("models", "connections", "queue", "loading")})
    assert drawn.startswith("<svg ")
    assert len(drawn) < 100_000
    assert ">let in<" in drawn
    assert ">known to it<" in drawn
    assert "memory" not in drawn
    assert picture.drawn({"queue": by_name(lines[:1])}).count(">let in<") == 1


@pytest.mark.parametrize("step", waiting.STEPS)
async def test_every_step_costs_something_behind_nobody_and_behind_some(step: str) -> None:
    assert await waiting.cost_us(step, 0) > 0
    assert await waiting.cost_us(step, 50) > 0
