"""The bench of compute runs, holds answers against ONNX Runtime's, and fails where all of its rounds fall short."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from tests.bench.answers import check_answer
from tests.bench.compute import Found, Runs, both, judged, main, measure, told
from tests.bench.pace import Answered, pace_of
from tests.bench.verdict import Ratio, is_short
from tests.bench.workload import NAME, residual_network, row_of

GOOD = Ratio(0.98, 0.96, 0.99)
SHORT = Ratio(0.95, 0.94, 0.969)
EXTRA = Ratio(0.5, 0.3, 0.7)


def found(at_16: Ratio = GOOD, at_64: Ratio = GOOD, extra_ms: Ratio = EXTRA) -> Found:
    runs = {number: Runs(8.0, 300.0) for number in (1, 16, 64)}
    return Found(8, {1: 10_000.0, 8: 9_000.0}, {16: at_16, 64: at_64}, {16: at_16, 64: at_64}, extra_ms, runs)


@pytest.mark.parametrize(
    ("measured", "short"),
    [
        (found(), 0),
        (found(at_16=SHORT), 1),
        (found(at_16=SHORT, at_64=SHORT), 2),
        (found(at_64=Ratio(0.95, 0.9, 0.98)), 0),  # one of its rounds was good
        (found(extra_ms=Ratio(0.5, 0.41, 0.7)), 1),
    ],
)
def test_what_misses_its_goal_in_every_round_is_short(measured: Found, short: int) -> None:
    assert len(judged(measured, 0.4)) == short
    assert len(list(told(measured))) == 4


def test_short_is_what_lies_below_the_goal_as_a_whole() -> None:
    assert is_short(SHORT, 0.97)
    assert not is_short(GOOD, 0.97)


def test_a_pace_is_taken_between_two_ends_of_runs() -> None:
    first = [Answered(1.0, 1.0), Answered(3.0, 2.0), Answered(5.0, 2.0)]
    second = [Answered(2.0, 2.0), Answered(4.0, 2.0), Answered(6.0, 2.5)]
    assert pace_of([first, second], 5.5) == {"answers": 3, "seconds": 3.0, "wait_s": 2.0}
    assert pace_of([first, second], 2.0) == {"answers": 4, "seconds": 4.0, "wait_s": 2.0}


def test_it_measures_and_another_answer_than_onnx_runtimes_ends_it(tmp_path: Path) -> None:
    with both(tmp_path, None, None, "binary", 32) as (raw, served):
        measured = measure(raw, served, [1, 8], rounds=1, seconds=0.3)
        assert measured.best_rows in (1, 8)
        assert all(rate.middle > 0 for rate in (*measured.rates.values(), *measured.costs.values()))
        assert all(runs.rows >= 1 for runs in measured.runs.values())
        other, row = residual_network(32), row_of(tmp_path / "repository" / NAME / "1" / "model.onnx")
        last = other.graph.initializer[-1]
        last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) + 1, last.name))
        onnx.save(other, tmp_path / "other.onnx")
        with pytest.raises(SystemExit, match="is not that of ONNX Runtime"):
            check_answer(served.port, row, tmp_path / "other.onnx")


def test_its_exit_code_is_its_verdict(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for measured, code in ((found(), 0), (found(at_64=SHORT), 1)):
        monkeypatch.setattr("tests.bench.compute.measure", lambda *_, measured=measured: measured)
        assert main(["--side", "32"]) == code
        assert ("short: 64 connections" in capsys.readouterr().out) is bool(code)
