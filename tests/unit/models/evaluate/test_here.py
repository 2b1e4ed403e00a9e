"""This machine added to a card: what it finds is there, and what others found is still there."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.data.samples import arrays_to_npz, read_arrays
from models.evaluate import measure
from models.evaluate.appraise import Trial
from models.evaluate.here import GoldenBroken, remeasured
from models.evaluate.remeasure import Version, differences, remeasure
from models.evaluate.version import Case
from service.repository.card import read_card
from service.repository.card_measures import Batching
from tests.unit.models.evaluate.test_remeasure import full, variant

__all__ = ["full", "variant"]

THERE = measure.Bench("another-cpu")


@pytest.fixture(autouse=True, scope="module")
def one_child() -> Any:
    """Resident memory has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.evaluate.resident.CHILDREN", 1)
        yield


@pytest.fixture(scope="module")
def there(trial: Trial) -> Trial:
    return replace(trial, bench=THERE)


@pytest.fixture(scope="module")
def added(variant: Version, full: Version, there: Trial) -> Version:
    return replace(variant, card=remeasured(variant, full, there))


def test_another_machine_stands_beside_the_first(variant: Version, added: Version) -> None:
    card = added.card
    assert [one.cpu_class for one in card.quality] == ["a-cpu", "another-cpu"]
    assert card.quality[0] == variant.card.quality[0]
    assert {one.cpu_class for one in card.speed} == {"a-cpu", "another-cpu"}
    assert len(card.speed) == 6
    assert card.golden_tolerance("cpu", "another-cpu") == card.golden_tolerance("cpu", "a-cpu")
    assert card.files == variant.card.files
    assert read_card(card.to_json()) == card


def test_the_new_card_holds_on_both_machines(added: Version, full: Version, trial: Trial, there: Trial) -> None:
    assert trial.test is not None
    for bench in (trial.bench, there.bench):
        fresh = remeasure(added, {"test": trial.test}, bench, full)
        assert differences(added.card, fresh, full.card) == []


def test_negative_control_the_added_figures_are_held_against_the_machine(
    added: Version, full: Version, trial: Trial
) -> None:
    assert trial.test is not None
    fresh = remeasure(added, {"test": trial.test}, THERE, full)
    entry = added.card.quality[1].model_copy(update={"accuracy": 0.5})
    spoilt = added.card.model_copy(update={"quality": (added.card.quality[0], entry)})
    assert any(line.startswith("quality.accuracy") for line in differences(spoilt, fresh, full.card))
    tolerance = added.card.golden
    assert tolerance is not None
    wide = tolerance.tolerances[1].model_copy(update={"max_abs": 9.0})
    spoilt = added.card.model_copy(
        update={"golden": tolerance.model_copy(update={"tolerances": (tolerance.tolerances[0], wide)})}
    )
    assert any(line.startswith("golden.tolerances") for line in differences(spoilt, fresh, full.card))


def test_measured_again_on_the_same_machine_it_takes_its_own_place(added: Version, full: Version, there: Trial) -> None:
    again = remeasured(added, full, there)
    assert [one.cpu_class for one in again.quality] == ["a-cpu", "another-cpu"]
    assert len(again.speed) == 6
    assert again.golden is not None
    assert len(again.golden.tolerances) == 2


def test_other_threads_are_other_speeds(full: Version, trial: Trial) -> None:
    two = replace(trial, bench=replace(trial.bench, threads=2))
    card = remeasured(full, None, two)
    assert sorted({one.threads for one in card.speed}) == [1, 2]
    assert len(card.quality) == 1


def test_a_full_version_stays_without_verdict(full: Version, there: Trial) -> None:
    card = remeasured(full, None, there)
    assert (card.verdict, card.variant_of, len(card.quality)) == (None, None, 2)


def test_the_worst_verdict_is_the_cards_and_keeps_its_reasons(variant: Version, full: Version, there: Trial) -> None:
    failed = variant.card.quality[0].model_copy(update={"verdict": "fail"})
    told = variant.card.model_copy(update={"quality": (failed,), "verdict": "fail", "reasons": ("it failed there",)})
    card = remeasured(replace(variant, card=told), full, there)
    assert (card.verdict, card.reasons) == ("fail", ("it failed there",))
    assert card.quality[1].verdict in ("pass", "insufficient-data")


def test_where_the_golden_cases_do_not_hold_nothing_is_measured(variant: Version, full: Version, there: Trial) -> None:
    arrays = read_arrays(variant.files["golden.npz"])
    arrays["output/logits"] = np.roll(arrays["output/logits"], 1, axis=1)
    spoilt = replace(variant, files={**variant.files, "golden.npz": arrays_to_npz(arrays)})
    with pytest.raises(GoldenBroken, match="does not answer its golden cases here: output 'logits' is off by"):
        remeasured(spoilt, full, there)


def test_golden_cases_of_another_form_are_named(variant: Version, full: Version, there: Trial) -> None:
    arrays = read_arrays(variant.files["golden.npz"])
    arrays["output/logits"] = arrays["output/logits"].astype(np.float64)
    spoilt = replace(variant, files={**variant.files, "golden.npz": arrays_to_npz(arrays)})
    with pytest.raises(GoldenBroken, match="has another form"):
        remeasured(spoilt, full, there)


def test_golden_cases_that_are_a_little_off_get_a_tolerance_of_their_own(
    variant: Version, full: Version, there: Trial
) -> None:
    arrays = read_arrays(variant.files["golden.npz"])
    arrays["output/logits"] = arrays["output/logits"] * np.float32(1.01)
    off = replace(variant, files={**variant.files, "golden.npz": arrays_to_npz(arrays)})
    card = remeasured(off, full, there)
    own, usual = (card.golden_tolerance("cpu", cpu) for cpu in ("another-cpu", "a-cpu"))
    assert own is not None
    assert usual is not None
    assert own > usual


@pytest.mark.parametrize("with_full", [True, False])
def test_a_variant_is_measured_beside_its_full_version_and_a_full_one_alone(
    variant: Version, full: Version, there: Trial, with_full: bool
) -> None:
    with pytest.raises(ValueError, match="is measured alone" if with_full else "measured beside it"):
        remeasured(full if with_full else variant, full if with_full else None, there)


@pytest.mark.parametrize("kept", [True, False])
def test_a_text_among_the_outputs_must_be_the_recorded_one(
    full: Version, there: Trial, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """As the server has it at every load; a flipped class number would widen the tolerance of all outputs."""
    told = Case("name", np.array([b"cat"]), np.array([b"cat" if kept else b"dog"]))
    monkeypatch.setattr("models.evaluate.here.golden_cases", lambda *_: [told])
    if kept:
        assert remeasured(full, None, there).golden is not None
    else:
        with pytest.raises(GoldenBroken, match="output 'name' has other values than recorded"):
            remeasured(full, None, there)


def test_a_machine_on_which_rows_may_not_be_mixed_decides_for_all(
    variant: Version, full: Version, there: Trial
) -> None:
    tied = Batching(mode="single-request-only", sensitivity=0.5, reason="tied there")
    told = replace(variant, card=variant.card.model_copy(update={"batching": tied}))
    assert remeasured(told, full, there).batching == tied
    assert remeasured(variant, full, there).batching.mode == "any"
