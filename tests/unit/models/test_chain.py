"""A chain runs its steps in order, tells each, and turns what breaks off into one sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from models import chain
from models.chain import StepFailed
from models.compress.checks import NotApplied, op_counts
from models.compress.technique import Material, Technique
from models.recipes import reading
from models.recipes.plan import Plan, PlanStep
from tests.unit.models import samples_of


@dataclass(frozen=True, slots=True)
class Nothing:
    """No argument."""


def step(name: str, apply: Any) -> PlanStep:
    return PlanStep(Technique(name, Nothing, apply), Nothing())


def plan(*steps: PlanStep, **more: Any) -> Plan:
    return Plan("mine", "a recipe", steps, **more)


def append(text: bytes) -> Any:
    return lambda model, _, __: model + text


def test_steps_run_in_order_and_each_is_told_before() -> None:
    told: list[str] = []
    made = chain.make(
        plan(step("one", append(b"1")), step("two", append(b"2"))), "1-x", b"0", None, on_step=told.append
    )
    assert made.onnx == b"012"
    assert (made.version, made.coded, made.recipe.name) == ("1-x", None, "mine")
    assert told == ["mine: one (1 of 2)", "mine: two (2 of 2)"]


def test_the_seed_and_the_calibration_set_reach_every_step() -> None:
    seen: list[Material] = []

    def look(model: bytes, _: Nothing, material: Material) -> bytes:
        seen.append(material)
        return model

    rows = samples_of.xs(3)
    chain.run(plan(step("look", look), seed=7), b"", rows, on_step=lambda _: None)
    chain.run(plan(step("look", look)), b"", rows, on_step=lambda _: None)
    assert [material.seed for material in seen] == [7, 0]
    assert all(material.calibration is rows for material in seen)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotApplied("it found nothing."), r"Recipe mine, step 2 of 2 \(bad\): it found nothing."),
        (KeyError("x\nmany\nlines"), r"Recipe mine, step 2 of 2 \(bad\) broke off with KeyError: 'x\\nmany\\nlines'."),
        (RuntimeError("first line\nsecond"), r"broke off with RuntimeError: first line\.$"),
    ],
)
def test_a_step_that_fails_is_one_sentence_with_its_place(error: Exception, sentence: str) -> None:
    def fail(model: bytes, _: Nothing, __: Material) -> bytes:
        raise error

    with pytest.raises(StepFailed, match=sentence) as refusal:
        chain.run(plan(step("one", append(b"")), step("bad", fail)), b"", None, on_step=lambda _: None)
    assert "\n" not in str(refusal.value)
    assert refusal.value.__cause__ is error


def test_an_interruption_is_no_failure_of_a_step() -> None:
    def interrupt(model: bytes, _: Nothing, __: Material) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chain.run(plan(step("slow", interrupt)), b"", None, on_step=lambda _: None)


def test_a_step_that_needs_a_calibration_set_says_so() -> None:
    with pytest.raises(StepFailed, match=r"step 2 of 2 \(int8_static\): int8_static needs a calibration set"):
        chain.run(reading.named("int8-static"), samples_of.perceptron(), None, on_step=lambda _: None)


def test_what_libraries_print_is_not_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    def chatter(model: bytes, _: Nothing, __: Material) -> bytes:
        print("Collecting tensor data")  # noqa: T201 - as libraries do
        return model

    chain.run(plan(step("loud", chatter)), b"", None, on_step=lambda _: None)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Collecting tensor data\n")


def test_a_real_recipe_on_a_model_of_two_inputs() -> None:
    made = chain.make(
        reading.named("int8-static"), "1-q", samples_of.two_inputs(), samples_of.prices(60), on_step=lambda _: None
    )
    assert op_counts(made.onnx)["QuantizeLinear"] >= 2
    assert made.recipe == reading.named("int8-static").recipe


def test_a_model_of_fixed_rows_is_calibrated_in_runs_of_as_many() -> None:
    model = samples_of.perceptron(256, rows=2)
    recipe = reading.named("int8-static")
    made = chain.make(recipe.fitted(2), "1-q", model, samples_of.xs(20), on_step=lambda _: None)
    assert made.recipe.steps[1].arguments["calibration_rows"] == 2
    with pytest.raises(StepFailed, match="InvalidArgument"):
        chain.make(recipe, "1-q", model, samples_of.xs(20), on_step=lambda _: None)


def test_a_coded_recipe_gives_the_coded_form_beside_the_file() -> None:
    deep_codec = pytest.importorskip("service.repository.deep_codec", reason="the coded form's decoder")
    coded = replace(reading.named("int8-static"), coded=True)
    made = chain.make(coded, "1-q", samples_of.perceptron(256), samples_of.xs(60), on_step=lambda _: None)
    assert made.coded is not None
    assert deep_codec.decode(made.coded, limit_bytes=len(made.onnx)) == made.onnx


def test_what_is_coded_must_decode_to_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.compress import deep_file  # noqa: PLC0415

    coded = chain.make(plan(step("same", append(b"")), coded=True), "1-x", b"any bytes", None, on_step=lambda _: None)
    assert coded.coded is not None
    real = deep_file.encode
    monkeypatch.setattr(deep_file, "encode", lambda onnx: real(onnx[:-1] + b"x"))
    with pytest.raises(StepFailed, match="what was coded does not decode to the same file"):
        chain.make(plan(step("same", append(b"")), coded=True), "1-x", b"any bytes", None, on_step=lambda _: None)
