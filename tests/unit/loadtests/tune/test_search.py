"""How a search shares out its time, on a bench whose scores and clock are made up; with real servers it is in
tests/loadtests/test_tune.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from loadtests.tune.halving import Race
from loadtests.tune.search import PRUNING_ROUNDS, _stage, _weigh
from loadtests.tune.settings import PRESENT, Settings

BOTH = Settings(max_batch_size=8, max_queue_delay_microseconds=0)
SHORTER = [BOTH.put_back(key) for key in BOTH.changes()]
STEP_S, START_S = 1.0, 2.0


class MadeUpBench:
    """Every block takes a second and every start two; a batch of eight scores twice as much."""

    step_s, start_s = STEP_S, START_S

    def __init__(self, left_s: float, *, broken: Sequence[Settings] = ()) -> None:
        self._spent_s, self._budget_s, self._kept_s = 0.0, left_s, 0.0
        self._broken = broken
        self.running: set[Settings] = {PRESENT}
        self.said: list[str] = []
        self.left_out: list[Settings] = []
        self.race: Race[Settings] = Race(PRESENT, self._measure, np.random.default_rng(0), self._may_go_on)

    @property
    def left_s(self) -> float:
        return self._budget_s - self._kept_s - self._spent_s

    def must_leave(self, kept_s: float) -> None:
        self._kept_s = kept_s

    def start(self, candidates: Sequence[Settings]) -> list[Settings]:
        started = [one for one in candidates if one not in self._broken]
        self._spent_s += START_S * len(set(started) - self.running)
        self.running |= set(started)
        return started

    def keep(self, candidates: Sequence[Settings]) -> None:
        self.running &= set(candidates)

    def leave_out(self, candidates: Sequence[Settings]) -> None:
        self.left_out += candidates

    def tell(self, sentence: str) -> None:
        self.said.append(sentence)

    def _measure(self, one: Settings, _: int) -> float:
        self._spent_s += STEP_S
        return 2.0 if one.max_batch_size == 8 else 1.0

    def _may_go_on(self, blocks: int) -> bool:
        return self.left_s > blocks * STEP_S


class TestWeigh:
    def test_each_shorter_one_is_measured_beside_the_whole(self) -> None:
        bench = MadeUpBench(100.0)
        found = _weigh(bench, BOTH, SHORTER)  # type: ignore[arg-type]
        assert {one: figure.value for one, figure in found.items()} == {
            Settings(max_queue_delay_microseconds=0): pytest.approx(0.5),
            Settings(max_batch_size=8): pytest.approx(1.0),
        }
        assert bench.race.rounds == PRUNING_ROUNDS

    def test_without_time_for_all_rounds_nothing_is_begun_and_it_is_said(self) -> None:
        bench = MadeUpBench(2 * START_S + 3 * PRUNING_ROUNDS * STEP_S - 0.5)
        assert _weigh(bench, BOTH, SHORTER) == {}  # type: ignore[arg-type]
        assert bench.race.rounds == 0 and "no time to see which" in bench.said[-1]

    def test_a_round_too_few_is_no_evidence(self) -> None:
        """A cost that few rounds do not show may be there: what was cut short is not put back."""
        bench = MadeUpBench(100.0)
        bench.race.may_go_on = lambda _blocks: bench.race.rounds < PRUNING_ROUNDS - 1
        assert _weigh(bench, BOTH, SHORTER) == {}  # type: ignore[arg-type]

    def test_one_that_does_not_start_is_left_out(self) -> None:
        bench = MadeUpBench(100.0, broken=[Settings(max_batch_size=8)])
        assert list(_weigh(bench, BOTH, SHORTER)) == [Settings(max_queue_delay_microseconds=0)]  # type: ignore[arg-type]


class TestStage:
    def test_the_best_wins_and_the_others_are_ended(self) -> None:
        bench = MadeUpBench(100.0)
        tried = [Settings(max_batch_size=size) for size in (1, 8, 32)]
        assert _stage(bench, tried, 10.0) == Settings(max_batch_size=8)  # type: ignore[arg-type]
        assert bench.running == {PRESENT, Settings(max_batch_size=8)} and bench.left_out == []

    def test_there_are_no_more_than_there_is_time_for(self) -> None:
        bench = MadeUpBench(30.0)
        tried = [Settings(max_batch_size=size) for size in (1, 8, 32, 128)]
        _stage(bench, tried, 16.0)  # type: ignore[arg-type]
        assert bench.left_out == tried[2:]  # six seconds each, of fourteen

    def test_what_is_kept_for_later_is_left(self) -> None:
        bench = MadeUpBench(60.0)
        _stage(bench, [Settings(max_batch_size=size) for size in (1, 8, 32, 128)], 20.0)  # type: ignore[arg-type]
        bench.must_leave(0)
        assert bench.left_s >= 20.0 - STEP_S

    def test_none_that_starts_leaves_the_present_one(self) -> None:
        bench = MadeUpBench(60.0, broken=[BOTH])
        assert _stage(bench, [BOTH], 0.0) == PRESENT  # type: ignore[arg-type]
