"""Whole appraisals of what is no image classifier with a test set: other tasks, other inputs, no test set at all."""

from dataclasses import replace

import numpy as np
import pytest

from models.data.samples import Samples
from models.evaluate import appraise, gate, measure
from models.evaluate.appraise import Appraisal, Trial
from service.repository.card import Size
from service.repository.card_measures import Quality
from service.repository.card_tasks import EmbeddingQuality, RegressionQuality, UnlabelledQuality
from tests.unit.models.compress.networks import images
from tests.unit.models.evaluate import planted

SIZES = Size(file_bytes=20_000, resident_bytes=10**6)


@pytest.fixture(autouse=True, scope="module")
def one_child() -> None:
    """Resident memory has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.evaluate.resident.CHILDREN", 1)
        yield


def appraised(variant: bytes, full: bytes, trial: Trial, **more: int) -> Appraisal:
    return appraise.appraise_variant(
        variant, trial, full_onnx=full, full=SIZES, profile=gate.PROFILES["default"], **more
    )


def test_a_regression(full_onnx: bytes, variant_onnx: bytes, trial: Trial) -> None:
    assert trial.test is not None
    runner = measure.open_runner(full_onnx, trial.bench)
    answers = measure.answers(runner, trial.test.inputs, "logits").logits
    targets = answers + np.random.default_rng(0).standard_normal(answers.shape)
    regression = replace(trial, test=Samples(trial.test.inputs, targets=targets), task="regression")
    found = appraised(variant_onnx, full_onnx, regression)
    assert isinstance(found.quality, RegressionQuality)
    assert found.quality.rmse == pytest.approx(1, abs=0.1)
    assert found.decision is not None
    assert found.decision.verdict == found.quality.verdict == "pass", found.decision.reasons
    worse = appraised(planted.wrong_scale(variant_onnx, 3.0), full_onnx, regression)
    assert worse.decision is not None
    assert {rule.name for rule in worse.decision.rules if rule.outcome == "fail"} >= {"error", "non-inferiority"}


def test_an_embedding(full_onnx: bytes, trial: Trial) -> None:
    embedding = replace(trial, task="embedding")
    found = appraised(full_onnx, full_onnx, embedding, coded_bytes=2_000)
    assert isinstance(found.quality, EmbeddingQuality)
    assert found.decision is not None
    assert found.decision.verdict == "pass", found.decision.reasons
    worse = appraised(planted.shuffled_classes(full_onnx, 4), full_onnx, embedding)
    assert worse.decision is not None
    assert "cosine" in {rule.name for rule in worse.decision.rules if rule.outcome == "fail"}


def test_without_a_test_set_it_is_told_how_the_two_compare_and_nothing_is_decided(
    full_onnx: bytes, variant_onnx: bytes, trial: Trial
) -> None:
    blind = replace(trial, test=None, calibration=images(64))
    found = appraised(variant_onnx, full_onnx, blind)
    assert isinstance(found.quality, UnlabelledQuality)
    assert (found.quality.n, found.quality.verdict) == (64, "insufficient-data")
    assert found.quality.agreement is not None
    assert found.decision is not None
    assert any("test set: none was given" in reason for reason in found.decision.reasons)
    full = appraise.appraise_full(full_onnx, blind)
    assert (full.quality.verdict, full.quality.agreement) == (None, None)


def test_with_neither_test_set_nor_calibration_nothing_can_be_measured(full_onnx: bytes, trial: Trial) -> None:
    with pytest.raises(ValueError, match="there are neither"):
        appraise.appraise_full(full_onnx, replace(trial, test=None))


def test_texts_with_two_inputs_and_two_outputs(trial: Trial) -> None:
    feed = planted.texts(300)
    runner = measure.open_runner(planted.text(), trial.bench)
    labels = measure.answers(runner, feed, "logits").logits.argmax(axis=1)
    of_texts = replace(trial, test=Samples(feed, labels))
    full = appraise.appraise_full(planted.text(), of_texts)
    assert isinstance(full.quality, Quality)
    assert full.quality.accuracy == 1.0
    assert full.batching.mode == "any"
    found = appraised(planted.text(), planted.text(), of_texts)
    assert found.quality.agreement == 1.0
    assert len(found.speed) == 3


def test_an_output_that_is_not_there_is_named(full_onnx: bytes, trial: Trial) -> None:
    with pytest.raises(ValueError, match="There is no output 'probabilities', only logits"):
        appraise.appraise_full(full_onnx, replace(trial, output="probabilities"))


def test_nan_in_an_output_that_is_not_judged_is_seen_too(trial: Trial) -> None:
    feed = planted.texts(120)
    runner = measure.open_runner(planted.text(), trial.bench)
    labels = measure.answers(runner, feed, "logits").logits.argmax(axis=1)
    spoilt = planted.text_with_nan_vectors()
    found = appraised(spoilt, planted.text(), replace(trial, test=Samples(feed, labels)))
    assert found.quality.agreement == 1.0
    assert found.decision is not None
    assert "soundness: 120 rows with NaN or infinity" in found.decision.reasons


def test_a_model_that_takes_four_rows_and_no_others(trial: Trial) -> None:
    four = planted.fixed_batch(4)
    assert trial.test is not None
    uneven = replace(trial, test=trial.test.take(range(298)))
    full = appraise.appraise_full(four, uneven)
    assert (full.quality.n, full.batching.mode, full.batching.sensitivity) == (298, "single-request-only", None)
    assert [one.rows for one in full.speed] == [4]
    assert isinstance(full.quality, Quality)
    assert full.quality.accuracy == 1.0
    found = appraised(four, four, uneven)
    assert found.quality.agreement == 1.0


def test_a_batch_that_the_graph_does_not_bear_is_run_row_by_row(trial: Trial) -> None:
    single = planted.only_one_row()
    assert trial.test is not None
    few = replace(trial, test=trial.test.take(range(60)))
    found = appraise.appraise_full(single, few)
    assert (found.batching.mode, [one.rows for one in found.speed]) == ("single-request-only", [1])
    assert isinstance(found.quality, Quality)
    assert found.quality.accuracy == 1.0
