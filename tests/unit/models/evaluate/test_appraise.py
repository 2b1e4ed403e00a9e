"""Whole appraisals of a small full version and its variant; and of variants that must not pass."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.evaluate import appraise, gate, latency, measure
from models.evaluate.appraise import Appraisal, Trial, _profiled_runs
from models.evaluate.evidence import Circumstances, collect
from service.repository.card import Size
from service.repository.card_measures import Batching, Speed


@pytest.fixture(scope="module")
def of_full(full_onnx: bytes, trial: Trial) -> Appraisal:
    return appraise.appraise_full(full_onnx, trial)


def of_variant(onnx_bytes: bytes, full_onnx: bytes, full: Size, trial: Trial, profile: str = "default") -> Appraisal:
    return appraise.appraise_variant(onnx_bytes, trial, full_onnx=full_onnx, full=full, profile=gate.PROFILES[profile])


def spoilt(model: bytes, factor: float) -> bytes:
    """The model with its last weights scaled row by row, so that its answers are other ones."""
    proto = onnx.load_from_string(model)
    (weight,) = (w for w in proto.graph.initializer if w.name == "w")
    array = numpy_helper.to_array(weight) * np.linspace(-1, 1, 4, dtype=np.float32) * factor
    weight.CopyFrom(numpy_helper.from_array(array.astype(np.float32), "w"))
    return proto.SerializeToString()


def test_a_full_version_is_measured_and_not_judged(of_full: Appraisal, full_onnx: bytes) -> None:
    assert of_full.size.file_bytes == len(full_onnx)
    assert of_full.quality.accuracy == 1.0
    assert of_full.quality.paired is None
    assert of_full.batching.mode == "any"
    assert (of_full.decision, of_full.gain_kind) == (None, None)
    assert [one.rows for one in of_full.speed] == [1, 8, 32]


def test_a_good_variant_passes(of_full: Appraisal, full_onnx: bytes, variant_onnx: bytes, trial: Trial) -> None:
    found = of_variant(variant_onnx, full_onnx, of_full.size, trial)
    assert found.decision is not None
    assert found.quality.paired is not None
    assert found.quality.verdict == found.decision.verdict
    assert found.size.parent_file_bytes == len(full_onnx)
    assert found.quality.accuracy == pytest.approx(1 + found.quality.paired.delta)
    assert found.gain_kind in ("speed", "memory", "storage-only")


def test_a_spoilt_variant_fails_with_its_reasons(of_full: Appraisal, full_onnx: bytes, trial: Trial) -> None:
    found = of_variant(spoilt(full_onnx, 1.0), full_onnx, of_full.size, trial)
    assert found.decision is not None
    assert found.decision.verdict == found.quality.verdict == "fail"
    failed = {rule.name for rule in found.decision.rules if rule.outcome == "fail"}
    # not "worth it": whether one of two equally fast networks comes out faster is the clock's affair
    assert {"accuracy", "non-inferiority", "agreement", "bad flips"} <= failed


def test_a_variant_that_answers_nan_fails(of_full: Appraisal, full_onnx: bytes, trial: Trial) -> None:
    found = of_variant(spoilt(full_onnx, float("nan")), full_onnx, of_full.size, trial)
    assert found.quality.non_finite_rows == 300
    assert found.decision is not None
    assert "soundness: 300 rows with NaN or infinity" in found.decision.reasons


def test_the_full_version_itself_is_no_gain(of_full: Appraisal, full_onnx: bytes, trial: Trial) -> None:
    found = of_variant(full_onnx, full_onnx, of_full.size, trial)
    assert found.decision is not None
    assert found.quality.agreement == 1.0
    outcomes = {rule.name: rule.outcome for rule in found.decision.rules}
    assert outcomes["accuracy"] == outcomes["agreement"] == outcomes["non-inferiority"] == "pass"


@pytest.mark.parametrize(("p50_ms", "runs"), [(0.1, 30), (500.0, 20), (15_000.0, 1)])
def test_a_slow_variant_is_profiled_no_longer_than_it_is_timed(p50_ms: float, runs: int) -> None:
    own = latency.timing(np.array([p50_ms / 1e3]), 1)
    slow = Speed(
        provider="cpu", cpu_class="a", threads=1, rows=1, runs=1, load_ms=1.0, first_run_ms=1.0, own=own, full=own
    )
    assert _profiled_runs(slow, budget_s=60.0) == runs


def test_speeds_of_other_machines_prove_nothing_here(full_onnx: bytes, of_full: Appraisal, trial: Trial) -> None:
    seen = of_variant(full_onnx, full_onnx, of_full.size, trial)
    elsewhere = tuple(one.model_copy(update={"cpu_class": "another"}) for one in seen.speed)
    for speed, count in ((seen.speed, 3), (elsewhere, 0), ((*elsewhere, *seen.speed), 3)):
        around = Circumstances(True, 0.0, seen.size, None, speed)
        assert len(collect(seen.quality, around).speedups) == count


def test_a_variant_that_mixes_is_judged_by_what_each_row_gets_alone(
    full_onnx: bytes, of_full: Appraisal, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    answers = measure.answers

    def spied(*given: Any, rows: int | None = None, **more: Any) -> measure.Answers:
        asked.append(rows)
        return answers(*given, rows=rows, **more)

    monkeypatch.setattr(measure, "answers", spied)
    of_variant(full_onnx, full_onnx, of_full.size, trial)
    tied = Batching(mode="single-request-only", sensitivity=0.5, reason="tied")
    monkeypatch.setattr(measure, "batching", lambda *_, **__: tied)
    of_variant(full_onnx, full_onnx, of_full.size, trial)
    assert asked == [None, None, None, 1]
