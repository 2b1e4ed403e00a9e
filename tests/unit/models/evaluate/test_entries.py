"""Entries of quality for every task, from answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.data.samples import Samples
from models.evaluate.entries import Asked, entry
from models.evaluate.measure import Answers, Bench
from service.repository.card_measures import Quality
from service.repository.card_tasks import EmbeddingQuality, RegressionQuality, UnlabelledQuality

BENCH = Bench("a-cpu")
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 120)
LOGITS = (np.eye(4)[LABELS] * 5 + RNG.standard_normal((120, 4))).astype(np.float32)
INPUTS = {"x": np.zeros((120, 1), np.float32)}


def answered(numbers: Any, **changes: Any) -> Answers:
    return replace(Answers(numbers, deterministic=True), **changes)


CLASSES = Asked("classification", Samples(INPUTS, LABELS))
NUMBERS = Asked("regression", Samples(INPUTS, targets=LOGITS.astype(np.float64)))
VECTORS = Asked("embedding", Samples(INPUTS, LABELS))
KINDS = [(CLASSES, Quality), (NUMBERS, RegressionQuality), (VECTORS, EmbeddingQuality)]


@pytest.mark.parametrize(("asked", "kind"), KINDS)
def test_a_full_version_has_neither_pair_nor_verdict(asked: Asked, kind: type) -> None:
    found = entry(answered(LOGITS), asked, BENCH)
    assert type(found) is kind
    assert (found.paired, found.verdict, found.n, found.cpu_class) == (None, None, 120, "a-cpu")


@pytest.mark.parametrize(("asked", "kind"), KINDS)
def test_a_variant_is_paired_and_undecided(asked: Asked, kind: type) -> None:
    found = entry(answered(LOGITS, non_finite_rows=3, deterministic=False), asked, BENCH, answered(LOGITS))
    assert type(found) is kind
    assert found.paired is not None
    assert (found.verdict, found.non_finite_rows, found.deterministic) == ("insufficient-data", 3, False)


@pytest.mark.parametrize(("asked", "kind"), KINDS)
def test_without_a_test_set_only_the_two_are_compared(asked: Asked, kind: type) -> None:
    blind = Asked(asked.task, Samples(INPUTS), is_test=False)
    found = entry(answered(LOGITS + np.float32(0.01)), blind, BENCH, answered(LOGITS))
    assert isinstance(found, UnlabelledQuality)
    assert found.of == asked.task
    assert found.paired is not None
    assert 0 < found.paired.relative_l2 < 0.02
    assert (found.paired.top1_agreement == 1.0) == (kind is Quality)


@pytest.mark.parametrize(("asked", "kind"), KINDS)
@pytest.mark.parametrize("shape", [(120, 5), (120,), (120, 4, 2)])
def test_answers_of_another_shape_are_as_bad_as_none(asked: Asked, kind: type, shape: tuple[int, ...]) -> None:
    found = entry(answered(np.ones(shape)), asked, BENCH, answered(LOGITS))
    assert type(found) is kind
    if isinstance(found, Quality):
        assert found.accuracy == 0
    if isinstance(found, EmbeddingQuality):
        assert found.paired is not None
        assert found.paired.cosine_mean == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_logits_of_any_dtype(dtype: Any) -> None:
    wide = np.round(LOGITS * 4).astype(dtype)
    found = entry(answered(wide), CLASSES, BENCH, answered(np.round(LOGITS * 4)))
    assert found.agreement == 1.0


def test_axes_of_one_behind_the_classes_are_no_others() -> None:
    assert entry(answered(LOGITS[:, :, None, None]), CLASSES, BENCH) == entry(answered(LOGITS), CLASSES, BENCH)


@pytest.mark.parametrize("shape", [(120,), (120, 1), (120, 4, 2)])
def test_what_is_no_classifiers_output_is_refused_in_a_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="is no classifier's"):
        entry(answered(np.ones(shape, np.float32)), CLASSES, BENCH)


def test_labels_beyond_the_classes_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="labels from 0 to 3 do not fit 120 rows of logits for 3 classes"):
        entry(answered(LOGITS[:, :3]), CLASSES, BENCH)


@pytest.mark.parametrize(("task", "said"), [("classification", "by labels"), ("regression", "by targets")])
def test_a_test_set_without_what_is_asked(task: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        entry(answered(LOGITS), Asked(task, Samples(INPUTS)), BENCH)


def test_embeddings_do_without_labels() -> None:
    found = entry(answered(LOGITS), Asked("embedding", Samples(INPUTS)), BENCH, answered(LOGITS))
    assert isinstance(found, EmbeddingQuality)
    assert (found.label_recall, found.agreement) == (None, 1.0)
