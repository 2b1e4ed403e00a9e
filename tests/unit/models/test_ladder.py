"""The ladder: climbed in order until the development set is content, and told rung by rung."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from models import chain, ladder
from models.compress.checks import op_counts
from models.data.samples import Samples
from models.evaluate import appraise, gate, measure
from models.ladder import Climb, Ground
from models.made import Made
from models.recipes.plan import Plan
from models.recipes.reading import parse
from service.core.errors import BadModel
from service.repository.card import Size
from tests.unit.models import samples_of

BENCH = measure.Bench("a-cpu")
HEAD = b"summary: s\nsteps: [preprocess, int8_static]\nladder:\n"


@pytest.fixture(scope="module")
def development() -> Samples:
    return samples_of.touching(900, seed=5)


@pytest.fixture(scope="module")
def ground(development: Samples) -> Ground:
    calibration = samples_of.touching(60).inputs
    return Ground("1-q", samples_of.touchy(), calibration, development, "logits", BENCH)


@pytest.fixture(scope="module")
def judge(ground: Ground, development: Samples) -> Callable[[Made], appraise.Appraisal]:
    trial = appraise.Trial(BENCH, development, "logits", runs=5)

    def appraised(made: Made) -> appraise.Appraisal:
        full = Size(file_bytes=len(ground.onnx))
        return appraise.appraise_variant(
            made.onnx, trial, full_onnx=ground.onnx, full=full, profile=gate.PROFILES["default"]
        )

    return appraised


def climb(rungs: bytes, ground: Ground, judge: ladder.Judge) -> Climb:
    return ladder.climb(parse(HEAD + rungs, "q.yaml"), ground, judge, on_step=lambda _: None)


def excluded(made: Made) -> object:
    return made.recipe.steps[1].arguments["exclude_nodes"]


def test_the_node_that_suffers_is_found(ground: Ground) -> None:
    plan = parse(HEAD + b"  - {exclude_worst: 1}", "q.yaml")
    told: list[str] = []
    worst = ladder.rank(plan, ground, on_step=told.append)
    assert worst[0] == "first"
    assert set(worst) == {"first", "second", "third"}
    assert told[-1] == "q: ranking 3 nodes by what int8_static does to each"


def test_the_first_rung_that_passes_is_taken_and_stands_in_the_recipe(ground: Ground, judge: ladder.Judge) -> None:
    found = climb(b"  - {training: qat}\n  - {exclude_worst: 1}\n  - {exclude_worst: 2}\n", ground, judge)
    assert excluded(found.made) == ("first",)
    rung = found.made.recipe.steps[-1]
    assert (rung.technique, rung.arguments) == ("ladder", {"rung": 2, "of": 3, "change": "exclude_worst 1"})
    assert op_counts(found.made.onnx)["MatMul"] == 3
    assert [line.split(":")[0] for line in found.tried] == [
        "as it stands",
        "rung 1 of 3, training qat",
        "rung 2 of 3, exclude_worst 1",
    ]
    assert "fail on the development set: accuracy" in found.tried[0]
    assert "left out, it needs a training recipe (retort train)" in found.tried[1]
    assert found.tried[2].endswith("pass on the development set: every rule holds.")


@pytest.mark.slow
def test_negative_control_where_no_rung_helps_the_least_faulty_is_taken(ground: Ground, judge: ladder.Judge) -> None:
    found = climb(b"  - {reduce_range: true}\n  - {exclude_worst: 3}\n", ground, judge)
    assert len(found.tried) == 3
    assert "rung 2 of 2, exclude_worst 3: does not apply; Recipe q, step 2 of 2" in found.tried[2]
    decision = judge(found.made).decision
    assert decision is not None
    assert decision.verdict == "fail"


def test_what_passes_as_it_stands_is_left_so(ground: Ground, judge: ladder.Judge) -> None:
    found = climb(b"  - {exclude_worst: 1}\n", ground, lambda made: judge(Made("1-q", _good(ground), made.recipe)))
    assert [line.split(":")[0] for line in found.tried] == ["as it stands"]
    assert excluded(found.made) == ()
    assert "ladder" not in [step.technique for step in found.made.recipe.steps]


def _good(ground: Ground) -> bytes:
    plan = parse(HEAD + b"  - {exclude_worst: 1}\n", "q.yaml").on_rung(1, ("first",))
    return chain.run(plan, ground.onnx, ground.calibration, on_step=lambda _: None)


def test_a_recipe_that_does_not_apply_at_all_is_no_ladders_business(ground: Ground, judge: ladder.Judge) -> None:
    plan: Plan = parse(
        b"summary: s\nsteps: [{int8_static: {op_types: [Conv]}}]\nladder: [{exclude_worst: 1}]", "q.yaml"
    )
    with pytest.raises(chain.StepFailed, match="finds no Conv"):
        ladder.climb(plan, ground, judge, on_step=lambda _: None)


def test_only_development_rows_are_looked_at(ground: Ground, development: Samples) -> None:
    few = Ground("1-q", ground.onnx, ground.calibration, development.take(range(3)), "logits", BENCH)
    plan = parse(HEAD + b"  - {exclude_worst: 1}", "q.yaml")
    assert ladder.rank(plan, few, on_step=lambda _: None)[0] == "first"
    assert np.array_equal(few.development.inputs["x"], development.inputs["x"][:3])


def test_a_rung_whose_model_does_not_run_is_told_and_the_next_one_tried(ground: Ground, judge: ladder.Judge) -> None:
    def broken_once(made: Made) -> appraise.Appraisal:
        if made.recipe.steps[1].arguments["reduce_range"]:
            raise BadModel("The model cannot be loaded.")
        return judge(made)

    found = climb(b"  - {reduce_range: true}\n  - {exclude_worst: 1}\n", ground, broken_once)
    assert found.tried[1] == "rung 1 of 2, reduce_range true: does not apply; The model cannot be loaded."
    assert excluded(found.made) == ("first",)


def test_where_no_node_can_be_left_out_the_rung_says_so(ground: Ground, judge: ladder.Judge) -> None:
    """Without the check the same model would be judged again, and its card tell of a rung that changed nothing."""
    with pytest.MonkeyPatch.context() as faulty:
        faulty.setattr(ladder.sensitivity, "candidates", lambda model, op_types: ())
        found = climb(b"  - {exclude_worst: 1}\n", ground, judge)
    assert "does not apply; Recipe q, ranking for int8_static: there is no node" in found.tried[1]
    assert excluded(found.made) == ()


def test_ranking_survives_what_libraries_raise_and_what_does_not_run(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = parse(HEAD + b"  - {exclude_worst: 1}", "q.yaml")
    technique = plan.steps[1].technique

    def moody(self: object, model: bytes, arguments: object, material: object) -> bytes:
        sys.stdout.write("a library talks\n")
        left = getattr(arguments, "exclude_nodes", ())
        if "first" not in left and left:
            raise IndexError("list index out of range")
        return b"no model" if "second" not in left and left else real(self, model, arguments, material)

    real = type(technique).run
    monkeypatch.setattr(type(technique), "run", moody)
    worst = ladder.rank(plan, ground, on_step=lambda _: None)
    assert (worst[0], worst[-1]) == ("second", "first")
    assert capsys.readouterr().out == ""
