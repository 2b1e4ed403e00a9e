"""Holding a card against its version: what is found when files, golden cases or figures are not what it says."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models import cards, describe
from models.data.samples import Samples, arrays_to_npz, read_arrays
from models.evaluate import appraise, gate, golden, measure
from models.evaluate.appraise import Trial
from models.evaluate.remeasure import Version, differences, remeasure
from service.repository.card import Card, Data, Recipe, Split
from tests.unit.models.compress.networks import images

OUTPUT = "logits"


def golden_npz(model: bytes, trial: Trial) -> bytes:
    rows = images(32)
    answers = measure.answers(measure.load(model, trial.bench, images(1)).runner, rows, OUTPUT)
    return arrays_to_npz({"input/image": rows["image"], f"output/{OUTPUT}": answers.logits})


def made(name: str, model: bytes, appraisal: appraise.Appraisal, trial: Trial, full: bytes | None = None) -> Version:
    files = {"model.onnx": model, "golden.npz": golden_npz(model, trial)}
    share = golden.FLOAT_SHARE if full is None else golden.QUANTISED_SHARE
    tolerance = golden.tolerance(read_arrays(files["golden.npz"])[f"output/{OUTPUT}"], share)
    splits = {"test": Split(n=len(trial.test), sha256=trial.test.sha256())}
    origin = cards.Origin("m", name, Recipe(name="r"), Data(name="d", splits=splits), "Apache-2.0", ())
    parent = cards.Full("1", full) if full else None
    return Version(cards.card(origin, files, appraisal, golden_max_abs=tolerance, full=parent), files)


@pytest.fixture(scope="module")
def full(full_onnx: bytes, trial: Trial) -> Version:
    return made("1", full_onnx, appraise.appraise_full(full_onnx, trial), trial)


@pytest.fixture(scope="module")
def variant(variant_onnx: bytes, full: Version, trial: Trial) -> Version:
    full_onnx = full.files["model.onnx"]
    assert full.card.size is not None
    appraisal = appraise.appraise_variant(
        variant_onnx, trial, full_onnx=full_onnx, full=full.card.size, profile=gate.PROFILES["default"]
    )
    return made("1-int8", variant_onnx, appraisal, trial, full_onnx)


def found(version: Version, trial: Trial, full: Version | None = None, test: Samples | None = None) -> list[str]:
    fresh = remeasure(version, {"test": test or trial.test}, trial.bench, full)
    return differences(version.card, fresh, full.card if full else None)


def retold(version: Version, **changes: Any) -> Version:
    return replace(version, card=version.card.model_copy(update=changes))


def test_honest_cards_have_no_differences(full: Version, variant: Version, trial: Trial) -> None:
    assert found(full, trial) == []
    assert found(variant, trial, full) == []


def test_another_model_under_the_same_card(full: Version, variant: Version, trial: Trial) -> None:
    swapped = replace(full, files={**full.files, "model.onnx": variant.files["model.onnx"]})
    lines = found(swapped, trial)
    assert any(line.startswith("files.model.onnx.sha256") for line in lines)
    assert any(line.startswith("golden logits: off by") for line in lines)


def test_another_full_version_than_the_one_it_was_made_from(variant: Version, full: Version, trial: Trial) -> None:
    other = replace(full, files={**full.files, "model.onnx": variant.files["model.onnx"]})
    lines = found(variant, trial, other)
    assert any(line.startswith("parent.sha256") for line in lines)


def test_golden_cases_of_another_class(full: Version, trial: Trial) -> None:
    arrays = read_arrays(full.files["golden.npz"])
    arrays[f"output/{OUTPUT}"] = np.roll(arrays[f"output/{OUTPUT}"], 1, axis=1)
    lines = found(replace(full, files={**full.files, "golden.npz": arrays_to_npz(arrays)}), trial)
    assert "golden logits: another class on some row" in lines


def test_another_test_set(full: Version, trial: Trial) -> None:
    lines = found(full, trial, test=trial.test.take(range(299)))
    assert any(line.startswith("data.splits.test") for line in lines)
    assert any(line.startswith("quality.n") for line in lines)


def test_a_card_without_figures(full: Version, variant: Version, trial: Trial) -> None:
    assert "quality: the card gives none" in found(retold(full, quality=()), trial)
    lines = found(retold(variant, size=None), trial, full)
    assert any(line.startswith("size") for line in lines)


def test_elsewhere_a_few_rows_may_differ(variant: Version, full: Version, trial: Trial) -> None:
    elsewhere = replace(trial, bench=measure.Bench("another-cpu"))
    assert found(variant, elsewhere, full) == []
    entry = variant.card.quality[0]
    assert entry.paired is not None
    for flips, refused in ((entry.paired.flips + 6, False), (entry.paired.flips + 7, True)):
        paired = entry.paired.model_copy(update={"flips": flips})
        told = retold(variant, quality=(entry.model_copy(update={"paired": paired}),))
        lines = found(told, elsewhere, full)
        assert bool(lines) is refused
        assert all(line.startswith("quality, flips") for line in lines)


def test_elsewhere_golden_cases_must_still_be_close(full: Version, trial: Trial) -> None:
    arrays = read_arrays(full.files["golden.npz"])
    arrays[f"output/{OUTPUT}"] = arrays[f"output/{OUTPUT}"] * np.float32(1.1)
    files = {**full.files, "golden.npz": arrays_to_npz(arrays)}
    card: Card = full.card.model_copy(update={"files": describe.file_entries(files), "golden": None})
    lines = found(Version(card, files), replace(trial, bench=measure.Bench("another-cpu")))
    assert any("more than 0.05" in line for line in lines)
