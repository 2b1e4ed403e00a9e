"""The gate against real files with planted faults: each variant of digits is refused, for the reason it deserves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import models
from models.data import digits
from models.evaluate import appraise, gate, measure
from models.evaluate.appraise import Appraisal, Trial
from service.core.cpu import cpu_class
from tests.unit.models.evaluate import planted

REPOSITORY = Path(models.__file__).parent / "repository" / "digits"
FULL, INT8 = "1", "1-int8"


def onnx_of(version: str) -> bytes:
    return (REPOSITORY / version / "model.onnx").read_bytes()


@cache
def trial() -> Trial:
    return Trial(measure.Bench(cpu_class()), digits.part("test"), "logits", runs=60)


@cache
def of_full() -> Appraisal:
    return appraise.appraise_full(onnx_of(FULL), trial())


@cache
def judged(onnx: bytes) -> Appraisal:
    return appraise.appraise_variant(
        onnx, trial(), full_onnx=onnx_of(FULL), full=of_full().size, profile=gate.PROFILES["default"]
    )


def failed(found: Appraisal) -> set[str]:
    assert found.decision is not None
    return {rule.name for rule in found.decision.rules if rule.outcome == "fail"}


@dataclass(frozen=True)
class Planted:
    """A fault, and the rules that must refuse it, and no others."""

    name: str
    make: Callable[[], bytes]
    by: set[str]


WRONG_ANSWERS = {"accuracy", "non-inferiority", "macro F1", "agreement", "bad flips"}
FAULTS = (
    Planted("wrong scale", lambda: planted.wrong_scale(onnx_of(INT8)), WRONG_ANSWERS),
    Planted("shuffled classes", lambda: planted.shuffled_classes(onnx_of(INT8)), WRONG_ANSWERS),
    Planted("NaN on one class", lambda: planted.nan_on_class(onnx_of(INT8)), WRONG_ANSWERS | {"soundness"}),
    Planted("slower", lambda: planted.slower(onnx_of(FULL)), {"worth it"}),
    Planted("another dtype", lambda: planted.other_output_dtype(onnx_of(INT8)), {"soundness"}),
    Planted("another shape", lambda: planted.other_output_shape(onnx_of(INT8)), WRONG_ANSWERS | {"soundness"}),
    Planted("another input", lambda: planted.other_input(onnx_of(INT8)), WRONG_ANSWERS | {"soundness"}),
)


@pytest.mark.parametrize("fault", FAULTS, ids=[one.name for one in FAULTS])
def test_a_planted_fault_is_refused_for_its_own_reason(fault: Planted) -> None:
    found = judged(fault.make())
    assert found.decision is not None
    assert found.decision.verdict == found.quality.verdict == "fail"
    assert failed(found) == fault.by
    assert all(any(reason.startswith(name) for reason in found.decision.reasons) for name in fault.by)


def test_negative_control_without_a_fault_it_passes() -> None:
    found = judged(onnx_of(INT8))
    assert found.decision is not None
    assert found.decision.verdict == "pass", found.decision.reasons
    assert found.gain_kind in ("speed", "memory", "storage-only")


def test_what_is_slower_is_told_why() -> None:
    found = judged(planted.slower(onnx_of(FULL)))
    assert found.gain_kind == "none-here"
    assert found.decision is not None
    assert any("gain here: none-here" in reason for reason in found.decision.reasons)
    assert any("MatMul nodes more than in the full version" in note for note in found.notes), found.notes


def test_a_copy_is_worth_nothing() -> None:
    found = judged(onnx_of(FULL))
    assert found.quality.agreement == 1.0
    assert (failed(found), found.gain_kind) == ({"worth it"}, "none-here")
    assert any("runs the same operators" in note for note in found.notes), found.notes


def test_one_scale_for_a_whole_batch_makes_it_single_request_only_and_says_by_how_much() -> None:
    found = judged(planted.batch_dependent(onnx_of(INT8)))
    assert found.batching.mode == "single-request-only"
    assert found.batching.sensitivity is not None
    assert found.batching.sensitivity > 0.02  # much: beside an outlier a row is coarse
    assert found.decision is not None
    rules = {rule.name: rule for rule in found.decision.rules}
    assert rules["batch-mates"].outcome == "pass"
    assert "served single-request-only" in rules["batch-mates"].sentence
    # Measured one row at a time, as it will be served, it is as good as the variant without the fault.
    assert failed(found) <= {"worth it"}
    assert any("one row at a time" in note for note in found.notes)


def test_the_coded_form_is_what_must_be_worth_it() -> None:
    """The full version's own file, said to be published in a tenth of the space: worth its place, as storage."""
    found = appraise.appraise_variant(
        onnx_of(FULL),
        trial(),
        full_onnx=onnx_of(FULL),
        full=of_full().size,
        profile=gate.PROFILES["default"],
        coded_bytes=len(onnx_of(FULL)) // 10,
    )
    assert found.decision is not None
    assert found.decision.verdict == "pass", found.decision.reasons
    assert found.gain_kind in ("storage-only", "memory")
    assert found.size.coded_bytes == len(onnx_of(FULL)) // 10
    assert found.size.file_bytes == len(onnx_of(FULL))
