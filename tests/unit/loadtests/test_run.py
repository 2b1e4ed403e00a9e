"""What a run says of two versions: a verdict where it is valid, and where it is not that its times prove nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from loadtests.disturbances import Mark
from loadtests.run import _sentence
from loadtests.scenario import read_scenario
from tests.unit.loadtests.report.outcomes import whole


def going(scenario: str) -> Any:
    seen = whole()
    order = SimpleNamespace(scenario=read_scenario(scenario))
    return SimpleNamespace(order=order, field=SimpleNamespace(entries=seen.entries), marks=[Mark(0.0, "to 1-int8")])


@pytest.mark.parametrize(("scenario", "word"), [("steady", "ship it"), ("swap", "1 of 1 swaps were done")])
def test_the_times_of_an_invalid_run_prove_nothing(scenario: str, word: str) -> None:
    seen = whole()
    said, disowned = (
        _sentence(going(scenario), seen.versus[0], seen.summaries, valid=valid) for valid in (True, False)
    )
    assert word in said
    assert "prove nothing" not in said
    assert disowned.startswith("this run is invalid and its times prove nothing; what it saw: ")
    assert not disowned.endswith("; ship it")
