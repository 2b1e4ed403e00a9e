"""Cards put together from files and appraisals are whole and can be read back."""

import pytest

from models import cards
from models.evaluate import appraise, gate
from models.evaluate.appraise import Appraisal, Trial
from service.repository.card import Data, Recipe, read_card


@pytest.fixture(scope="module")
def appraisals(full_onnx: bytes, variant_onnx: bytes, trial: Trial) -> tuple[Appraisal, Appraisal]:
    full = appraise.appraise_full(full_onnx, trial)
    variant = appraise.appraise_variant(
        variant_onnx, trial, full_onnx=full_onnx, full=full.size, profile=gate.PROFILES["default"]
    )
    return full, variant


def origin(version: str) -> cards.Origin:
    return cards.Origin("m", version, Recipe(name="r"), Data(name="d"), "Apache-2.0", ("CUDA",), needs=("cuda",))


def test_a_full_versions_card(full_onnx: bytes, appraisals: tuple[Appraisal, Appraisal]) -> None:
    card = cards.card(origin("1"), {"model.onnx": full_onnx}, appraisals[0], golden_max_abs=0.5)
    assert read_card(card.to_json()) == card
    assert (card.variant_of, card.parent, card.verdict, card.reasons, card.gain_kind) == (None, None, None, (), None)
    assert card.golden_tolerance("cpu", "a-cpu") == 0.5
    assert card.files["model.onnx"].bytes == len(full_onnx)
    assert card.graph is not None
    assert (card.graph.needs, card.not_verified) == (("cuda",), ("CUDA",))


def test_a_variants_card(full_onnx: bytes, variant_onnx: bytes, appraisals: tuple[Appraisal, Appraisal]) -> None:
    files = {"model.onnx": variant_onnx, "golden.npz": b"cases"}
    full = cards.Full("1", full_onnx)
    card = cards.card(origin("1-int8"), files, appraisals[1], golden_max_abs=0.5, full=full)
    decision = appraisals[1].decision
    assert decision is not None
    assert read_card(card.to_json()) == card
    assert card.variant_of == "1"
    assert card.parent is not None
    assert card.parent.sha256 == cards.describe.sha256(full_onnx)
    assert (card.verdict, card.reasons) == (decision.verdict, decision.reasons)
    assert set(card.files) == {"model.onnx", "golden.npz"}
    assert card.graph is not None
    assert card.graph.parent_op_counts is not None
