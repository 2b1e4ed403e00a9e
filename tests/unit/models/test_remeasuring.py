"""A card learns what this machine measures, once the rows are those it was judged on; nothing else of it moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import chain, compressing, order, remeasuring
from models.compressing import OnStep, Outcome
from models.describe import sha256
from models.evaluate import appraise
from models.evaluate.here import GoldenBroken
from models.ladder import Climb, Ground, Judge
from models.order import BadOrder, Files, How
from models.publish import replace_card
from models.recipes.plan import Plan
from models.recipes.reading import parse
from service.core.cpu import cpu_class
from service.repository.layout import Repository
from tests.unit.models import samples_of

SAFE = parse(b"summary: s\nsteps: [preprocess, {int8_static: {exclude_nodes: [first]}}]", "safe.yaml")
UNFIT = parse(b"summary: s\nsteps: [preprocess, {int8_static: {op_types: [Conv]}}]", "unfit.yaml")
QUICK = How(runs=5)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    (folder / "net.onnx").write_bytes(samples_of.touchy())
    samples_of.write(folder / "few.npz", samples_of.touching(60).inputs)
    test = samples_of.touching(900, seed=5)
    samples_of.write(folder / "test.npz", test.inputs, labels=test.labels)
    samples_of.write(folder / "part.npz", test.take(range(400)).inputs, labels=test.labels[:400])
    return folder


@pytest.fixture(scope="module")
def outcomes(given: Path) -> list[Outcome]:
    files = Files(calibration=given / "few.npz", test=given / "test.npz")
    job = order.prepare(given / "net.onnx", given / "repository" / "net", files, QUICK, [UNFIT, SAFE], [], None)
    told: list[str] = []
    full = compressing.publish_full(job, told.append)
    found = list(compressing.publish_variants(job, full, told.append))
    assert told[0] == "1: measuring the full version"
    assert told[-1] == "1-safe: measuring beside the full version"
    return found


@pytest.fixture
def net(given: Path, outcomes: list[Outcome]) -> Path:
    assert outcomes
    return given / "repository" / "net"


def test_what_does_not_apply_stops_no_other_recipe(outcomes: list[Outcome]) -> None:
    unfit, safe = outcomes
    assert unfit.published is None
    assert "int8_static finds no Conv" in unfit.refusal
    assert safe.published is not None
    assert (safe.published.card.verdict, safe.refusal, safe.tried) == ("pass", "", ())


def test_a_card_that_was_made_elsewhere_gets_this_machine_too(net: Path, given: Path) -> None:
    card = json.loads((net / "1-safe" / "card.json").read_bytes())
    for part in (*card["quality"], *card["speed"], *card["golden"]["tolerances"]):
        part["cpu_class"] = "elsewhere"
    replace_card(net / "1-safe", json.dumps(card).encode())
    (again,) = remeasuring.remeasure(net / "1-safe", given / "test.npz", QUICK)
    assert [one.cpu_class for one in again.before.quality] == ["elsewhere"]
    assert {one.cpu_class for one in again.after.quality} == {"elsewhere", cpu_class()}
    assert again.after.golden_tolerance("cpu", cpu_class()) is not None
    assert Repository(net.parent).read_card("net", "1-safe") == again.after
    assert again.after.files == again.before.files


def test_other_rows_than_the_cards_are_refused(net: Path, given: Path) -> None:
    before = (net / "1-safe" / "card.json").read_bytes()
    with pytest.raises(BadOrder, match=r"part\.npz does not hold the rows that net/1-safe was judged on"):
        list(remeasuring.remeasure(net / "1-safe", given / "part.npz", QUICK))
    assert (net / "1-safe" / "card.json").read_bytes() == before


def test_a_model_without_cards_is_refused(given: Path, tmp_path: Path) -> None:
    (tmp_path / "net" / "1").mkdir(parents=True)
    (tmp_path / "net" / "1" / "model.onnx").write_bytes(samples_of.touchy())
    with pytest.raises(BadOrder, match="has no version with a card"):
        list(remeasuring.remeasure(tmp_path / "net", given / "test.npz", QUICK))


def test_negative_control_a_version_that_answers_otherwise_is_not_measured(net: Path, given: Path) -> None:
    golden = dict(np.load(net / "1-safe" / "golden.npz"))
    golden["output/logits"] = -golden["output/logits"]
    kept = {name: (net / "1-safe" / name).read_bytes() for name in ("golden.npz", "card.json")}
    np.savez(net / "1-safe" / "golden.npz", **golden)
    moved = (net / "1-safe" / "golden.npz").read_bytes()
    card = json.loads(kept["card.json"])
    card["files"]["golden.npz"] = {"sha256": sha256(moved), "bytes": len(moved)}
    replace_card(net / "1-safe", json.dumps(card).encode())
    try:
        with pytest.raises(GoldenBroken, match="does not answer its golden cases here"):
            list(remeasuring.remeasure(net / "1-safe", given / "test.npz", QUICK))
    finally:
        for name, data in kept.items():
            (net / "1-safe" / name).write_bytes(data)


def test_choices_are_made_on_the_development_set_and_never_on_the_test_set(
    given: Path, outcomes: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def climb(plan: Plan, ground: Ground, judge: Judge, *, on_step: OnStep) -> Climb:
        made = chain.make(plan, ground.version, ground.onnx, ground.calibration, on_step=on_step)
        judge(made)
        return Climb(made, ())

    def appraised(onnx: bytes, trial: appraise.Trial, **more: object) -> None:
        seen.append(trial.test)

    monkeypatch.setattr("models.ladder.climb", climb)
    monkeypatch.setattr("models.compressing.appraise.appraise_variant", appraised)
    files = Files(calibration=given / "few.npz", test=given / "test.npz")
    how = replace(QUICK, until_pass=True)
    job = order.prepare(given / "net.onnx", given / "other" / "net", files, how, [SAFE], [], None)
    full = outcomes[1].published
    assert full is not None
    with pytest.raises(AttributeError):  # nothing was appraised that could be published
        list(compressing.publish_variants(job, full, lambda _: None))
    development, test = job.setup.sets.development, job.setup.sets.test
    assert seen == [development, test]
    assert development is not None
    assert test is not None
    assert not set(development.row_hashes()) & set(test.row_hashes())
