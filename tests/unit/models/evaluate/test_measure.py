"""Versions measured through the runner that serves."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from models.evaluate import measure, quality
from models.evaluate.appraise import Trial
from models.evaluate.measure import Bench
from service.core.errors import BadModel
from service.repository.card import Size
from tests.unit.models.compress.networks import images
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

BENCH = Bench("a-cpu")


def random_answers() -> bytes:
    """Different numbers at every run."""
    node = helper.make_node("RandomNormalLike", ["x"], ["y"], dtype=1)
    ends = [value(name, TensorProto.FLOAT, ["N", 4]) for name in "xy"]
    return graphs.model([node], ends[:1], ends[1:])


def test_loading_is_timed_and_a_bad_file_is_an_error(full_onnx: bytes) -> None:
    subject = measure.load(full_onnx, BENCH, images(1))
    assert subject.load_ms > 0
    assert subject.first_run_ms > 0
    with pytest.raises(BadModel):
        measure.load(b"no model", BENCH, images(1))


@pytest.mark.parametrize("n", [1, measure.ANSWER_ROWS, measure.ANSWER_ROWS + 1, 250])
def test_every_row_is_answered_once_and_in_order(full_onnx: bytes, n: int) -> None:
    runner = measure.load(full_onnx, BENCH, images(1)).runner
    found = measure.answers(runner, images(n), "logits")
    assert found.deterministic
    alone = np.concatenate([runner.run({"image": images(n)["image"][i : i + 1]})["logits"] for i in range(n)])
    assert np.allclose(found.logits, alone, atol=1e-5)


def test_a_version_that_answers_differently_each_time_is_found_out() -> None:
    feed = {"x": np.ones((4, 4), dtype=np.float32)}
    assert not measure.answers(measure.load(random_answers(), BENCH, feed).runner, feed, "y").deterministic


def test_batching_by_limit(full_onnx: bytes) -> None:
    runner = measure.load(full_onnx, BENCH, images(1)).runner
    free = measure.batching(runner, images(40), limit=1e-5)
    assert (free.mode, free.reason) == ("any", None)
    strict = measure.batching(runner, images(40), limit=-1.0)
    assert strict.mode == "single-request-only"
    assert strict.reason is not None
    assert "batch-mates" in strict.reason


def test_speed_of_a_full_version_and_of_a_variant_beside_it(full_onnx: bytes, variant_onnx: bytes) -> None:
    full, variant = (measure.load(onnx, BENCH, images(1)) for onnx in (full_onnx, variant_onnx))
    alone = measure.speed(full, images(32), BENCH, runs=10)
    assert [one.rows for one in alone] == list(measure.BATCHES)
    assert all(one.full is None and one.speedup is None and one.speedup_interval_95 is None for one in alone)
    beside = measure.speed(variant, images(32), BENCH, runs=10, full=full)
    for one in beside:
        assert one.full is not None
        assert one.speedup_interval_95 is not None
        assert one.speedup_interval_95[0] <= (one.speedup or 0) <= one.speedup_interval_95[1]
        assert one.own.p50_ms <= one.own.p95_ms <= one.own.p99_ms
        assert (one.runs, one.threads, one.cpu_class) == (10, 1, "a-cpu")


def test_evidence_counts_rows_whole(trial: Trial) -> None:
    labels = trial.test.labels
    logits = np.eye(4, dtype=np.float32)[labels]
    worse = logits.copy()
    worse[:3] = np.roll(worse[:3], 1, axis=1)
    found = measure.evidence(
        quality.score(worse, labels),
        quality.compare(logits, worse, labels),
        deterministic=True,
        same_signature=True,
        sensitivity=0.0,
        size=Size(file_bytes=10, parent_file_bytes=40, resident_bytes=7),
        full_resident_bytes=9,
        speed=(),
    )
    assert (found.n, found.full_right, found.b, found.c, found.flips) == (300, 300, 3, 0, 3)
    assert sum(one.support for one in found.classes) == sum(one.full_right for one in found.classes) == 300
    assert sum(one.right for one in found.classes) == 297
    assert (found.bytes, found.full_bytes, found.resident_bytes, found.full_resident_bytes) == (10, 40, 7, 9)


@pytest.mark.parametrize("verdict", ["pass", None])
def test_an_entry_of_quality_needs_pair_and_verdict_together(trial: Trial, verdict: str | None) -> None:
    logits = np.eye(4, dtype=np.float32)[trial.test.labels]
    scores, paired = quality.score(logits, trial.test.labels), quality.compare(logits, logits, trial.test.labels)
    pair = paired if verdict else None
    entry = measure.quality_entry(scores, BENCH, deterministic=True, paired=pair, verdict=verdict)  # type: ignore[arg-type]
    assert entry.agreement == (1.0 if verdict else None)
    with pytest.raises(ValueError, match="come together"):
        measure.quality_entry(scores, BENCH, deterministic=True, paired=None if pair else paired, verdict=verdict)  # type: ignore[arg-type]
