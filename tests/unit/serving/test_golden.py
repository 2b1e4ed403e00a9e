"""Golden cases hold, or the first thing that is off is named."""

import numpy as np
import pytest

from service.core.contract import Array, Arrays
from service.core.errors import Refused
from service.repository.golden import Golden
from service.serving.gate import Machine
from service.serving.golden import chunks, hold, run_golden
from tests.unit.serving.cards import card

HERE = Machine("cpu", "avx512_vnni")
ELSEWHERE = Machine("cpu", "avx2")
LOGITS = np.asarray([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]], np.float32)


def golden(outputs: dict[str, Array] | None = None) -> Golden:
    return Golden({"x": np.arange(2, dtype=np.float32).reshape(2, 1)}, outputs or {"logits": LOGITS}, 2)


def test_equal_answers_hold_anywhere() -> None:
    report = hold(golden(), {"logits": LOGITS.copy()}, card(tolerance=1e-5), HERE)
    assert (report.n, report.max_abs, report.known_here) == (2, 0.0, True)
    assert not hold(golden(), {"logits": LOGITS}, card(tolerance=1e-5), ELSEWHERE).known_here
    assert not hold(golden(), {"logits": LOGITS}, None, HERE).known_here


@pytest.mark.parametrize(("off", "holds"), [(0.009, True), (0.011, False)])
def test_the_cards_tolerance_decides_where_it_knows_the_machine(off: float, holds: bool) -> None:
    found = LOGITS.copy()
    found[1, 2] += off
    if holds:
        assert hold(golden(), {"logits": found}, card(tolerance=0.01), HERE).max_abs == pytest.approx(off, rel=1e-3)
    else:
        with pytest.raises(Refused, match=r"0\.011 away from the recorded one, more than 0\.01"):
            hold(golden(), {"logits": found}, card(tolerance=0.01), HERE)


def test_another_class_is_refused_even_within_the_tolerance() -> None:
    found = LOGITS.copy()
    found[1] = [0.0, 1.4, 1.5]
    with pytest.raises(Refused, match="another class"):
        hold(golden(), {"logits": found}, card(tolerance=10.0), HERE)
    assert hold(golden(), {"logits": found}, card(tolerance=10.0, top1=False), HERE).max_abs > 0.5


@pytest.mark.parametrize(("factor", "holds"), [(1.04, True), (1.06, False)])
def test_unknown_hardware_is_held_to_relative_distance(factor: float, holds: bool) -> None:
    found = LOGITS * np.float32(factor)
    if holds:
        assert not hold(golden(), {"logits": found}, None, HERE).known_here
    else:
        with pytest.raises(Refused, match="relative L2"):
            hold(golden(), {"logits": found}, card(tolerance=1e-6), ELSEWHERE)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"logits": LOGITS[:1]},
        {"logits": LOGITS.astype(np.float64)},
        {"logits": np.where(LOGITS > 2, np.float32(np.nan), LOGITS)},
        {"logits": np.where(LOGITS > 2, np.float32(np.inf), LOGITS)},
    ],
)
def test_other_shapes_datatypes_or_non_finite_values_are_refused(found: Arrays) -> None:
    with pytest.raises(Refused, match="output 'logits' has"):
        hold(golden(), found, card(tolerance=10.0), HERE)


def test_recorded_nan_is_expected_again() -> None:
    recorded = np.asarray([[np.nan, 1.0]], np.float32)
    assert hold(golden({"y": recorded}), {"y": recorded.copy()}, None, HERE).max_abs == 0.0


@pytest.mark.parametrize("instead", [np.nan, -np.inf, 1.0])
def test_recorded_infinity_is_expected_again_too(instead: float) -> None:
    recorded = np.asarray([[np.inf, 1.0]], np.float32)
    assert hold(golden({"y": recorded}), {"y": recorded.copy()}, None, HERE).max_abs == 0.0
    with pytest.raises(Refused, match="NaN or infinity where none was recorded"):
        hold(golden({"y": recorded}), {"y": np.asarray([[instead, 1.0]], np.float32)}, None, HERE)


@pytest.mark.parametrize("values", [np.asarray([1, 2]), np.asarray([b"a", b"b"], object), np.asarray([True, False])])
def test_exact_datatypes_are_compared_exactly(values: Array) -> None:
    assert hold(golden({"y": values}), {"y": values.copy()}, None, HERE).n == 2
    with pytest.raises(Refused, match="other values"):
        hold(golden({"y": values}), {"y": values[::-1].copy()}, None, HERE)


@pytest.mark.parametrize(("chunk_rows", "runs"), [(None, [2]), (1, [1, 1]), (2, [2]), (32, [2])])
def test_rows_run_in_chunks_and_come_back_whole(chunk_rows: int | None, runs: list[int]) -> None:
    seen: list[int] = []

    def run(arrays: Arrays) -> dict[str, Array]:
        seen.append(len(arrays["x"]))
        return {"logits": arrays["x"] * 2}

    answered = run_golden(run, golden(), chunk_rows)
    assert seen == runs
    assert np.array_equal(answered["logits"], [[0.0], [2.0]])
    assert len(chunks(golden(), chunk_rows)) == len(runs)
