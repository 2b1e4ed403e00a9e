"""The card's speed: which batch sizes, how many runs, and what the budget allows."""

import dataclasses

from models.evaluate import measure
from models.evaluate.measure import Bench
from models.evaluate.speed import BATCHES, Effort, not_faster, speed
from tests.unit.models.compress.networks import images
from tests.unit.models.evaluate.planted import fixed_batch

BENCH = Bench("a-cpu")


def test_speed_of_a_full_version_and_of_a_variant_beside_it(full_onnx: bytes, variant_onnx: bytes) -> None:
    full, variant = (measure.load(onnx, BENCH, images(1)) for onnx in (full_onnx, variant_onnx))
    alone = speed(full, images(32), BENCH, effort=Effort(10))
    assert [one.rows for one in alone] == list(BATCHES)
    assert all(one.full is None and one.speedup is None and one.speedup_interval_95 is None for one in alone)
    beside = speed(variant, images(32), BENCH, effort=Effort(10), full=full)
    for one in beside:
        assert one.full is not None
        assert one.speedup_interval_95 is not None
        assert one.speedup_interval_95[0] <= (one.speedup or 0) <= one.speedup_interval_95[1]
        joint = one.speedup_joint_interval_95
        assert joint is not None
        assert joint[0] <= one.speedup_interval_95[0] <= one.speedup_interval_95[1] <= joint[1]
        assert one.own.p50_ms <= one.own.p95_ms <= one.own.p99_ms
        assert (one.runs, one.threads, one.cpu_class) == (10, 1, "a-cpu")


def test_more_rows_than_there_are_are_the_same_ones_again(full_onnx: bytes) -> None:
    subject = measure.load(full_onnx, BENCH, images(1))
    assert [one.rows for one in speed(subject, images(3), BENCH, effort=Effort(10))] == list(BATCHES)


def test_a_model_that_takes_four_rows_and_no_others_is_timed_with_four() -> None:
    subject = measure.load(fixed_batch(4), BENCH, images(4))
    assert [one.rows for one in speed(subject, images(32), BENCH, effort=Effort(10))] == [4]


def test_a_budget_cuts_the_runs_and_the_card_tells_how_many_there_were(full_onnx: bytes) -> None:
    subject = measure.load(full_onnx, BENCH, images(1))
    cut = speed(subject, images(32), BENCH, effort=Effort(10_000, budget_s=0.3))
    assert all(10 <= one.runs < 10_000 for one in cut)


def test_the_batch_size_that_needs_a_word_is_the_worst_that_is_not_faster(full_onnx: bytes) -> None:
    full = measure.load(full_onnx, BENCH, images(1))
    (one, *_) = speed(full, images(32), BENCH, effort=Effort(10), full=full)
    fast, even, slow = (
        one.model_copy(update={"rows": rows, "speedup": ratio, "speedup_joint_interval_95": interval})
        for rows, ratio, interval in ((1, 2.0, (1.9, 2.1)), (8, 1.0, (0.9, 1.1)), (32, 0.5, (0.4, 0.6)))
    )
    assert not_faster([fast]) is None
    assert not_faster([fast, even, slow]) == slow
    assert not_faster([fast, even]) == even
    assert not_faster([one.model_copy(update={"speedup": None})]) is None


def test_of_a_card_without_joint_intervals_the_others_count(full_onnx: bytes) -> None:
    full = measure.load(full_onnx, BENCH, images(1))
    (one, *_) = speed(full, images(32), BENCH, effort=Effort(10), full=full)
    older = one.model_copy(
        update={"speedup": 2.0, "speedup_interval_95": (1.9, 2.1), "speedup_joint_interval_95": None}
    )
    assert not_faster([older]) is None


def test_effort_is_a_number_of_runs_within_a_minute() -> None:
    assert dataclasses.astuple(Effort(300)) == (300, 60.0)
