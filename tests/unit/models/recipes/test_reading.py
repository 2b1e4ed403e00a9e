"""Recipe files are read strictly: what is wrong is said in one sentence, with the place and the nearest known name."""

from pathlib import Path

import pytest

from models.compress.int8_static import Int8Static
from models.compress.preprocess import Preprocess
from models.recipes import reading
from models.recipes.reading import BadRecipe
from service.repository.layout import Repository

SHIPPED = Repository(Path(reading.__file__).parents[1] / "repository")
GOOD = b"summary: s\nsteps:\n  - preprocess: {}\n"

WRONG = [
    (b"", "my.yaml: a recipe is expected to be a mapping"),
    (b"[]", "my.yaml: a recipe is expected to be a mapping"),
    (b"summary: [\n", "my.yaml is not plain YAML: .* line 2"),
    (b"summary: &a x\nsteps: [preprocess]", "my.yaml is not plain YAML: anchors"),
    (b"steps: [preprocess]", "my.yaml, summary: a text is expected, not 'None'"),
    (b"summary: ' '\nsteps: [preprocess]", "my.yaml, summary: one sentence is expected"),
    (b"summary: s", "my.yaml, steps: a list of at least one step is expected"),
    (b"summary: s\nsteps: []", "my.yaml, steps: a list of at least one step is expected"),
    (b"summary: s\nstep: []", "my.yaml: unknown key 'step'; did you mean 'steps'?"),
    (b"summary: s\nseed: x\nsteps: [preprocess]", "my.yaml, seed: a whole number is expected, not 'x'"),
    (b"summary: s\ncoded: maybe\nsteps: [preprocess]", "my.yaml, coded: true or false is expected, not 'maybe'"),
    (b"summary: s\nneeds: cuda\nsteps: [preprocess]", "my.yaml, needs: a list is expected, not 'cuda'"),
    (b"summary: s\nsteps: [preprocess, 3]", "step 2: there is no technique '3'"),
    (b"summary: s\nsteps: [[a]]", "step 1: a step is expected to be a mapping"),
    (b"summary: s\nsteps: [{preprocess: {}, int8_static: {}}]", "step 1: one technique with its arguments .* not 2"),
    (b"summary: s\nsteps: [int8static]", "step 1: there is no technique 'int8static'; did you mean 'int8_static'"),
    (
        b"summary: s\nsteps: [{int8_static: {per_chanel: true}}]",
        r"step 1 \(int8_static\): unknown argument 'per_chanel'; did you mean 'per_channel'",
    ),
    (
        b"summary: s\nsteps: [preprocess, {int8_static: {per_channel: 7}}]",
        r"step 2 \(int8_static\), per_channel: true or false is expected, not '7'",
    ),
    (
        b"summary: s\nsteps: [{int8_static: {calibration_rows: 1.5}}]",
        r"step 1 \(int8_static\), calibration_rows: a whole number is expected, not '1.5'",
    ),
    (b"summary: s\nsteps: [{int8_static: {op_types: Conv}}]", r"op_types: a list is expected, not 'Conv'"),
    (b"summary: s\nsteps: [{int8_static: {calibrator: [a]}}]", r"calibrator: a text is expected, not a list"),
    (b"summary: s\nsteps: [{int8_static: [a]}]", r"\(int8_static\): arguments is expected to be a mapping"),
    (GOOD + b"ladder: 3", "my.yaml, ladder: a list is expected"),
    (GOOD + b"ladder: [3]", "ladder, rung 1: a rung is expected to be a mapping"),
    (GOOD + b"ladder: [{}]", "ladder, rung 1: at least one change is expected"),
    (GOOD + b"ladder: [{optimize: true}]", "rung 1: unknown change 'optimize'; did you mean 'optimise'"),
    (GOOD + b"ladder: [{exclude_worst: 2}]", "rung 1: exclude_worst wants .* a step that takes exclude_nodes"),
    (GOOD + b"ladder: [{training: qta}]", "rung 1: unknown training 'qta'; did you mean 'qat'"),
    (GOOD + b"ladder: [{optimise: true}, {optimise: 7}]", "rung 2 .*optimise: true or false is expected"),
    (
        b"summary: s\nsteps: [int8_static]\nladder: [{exclude_worst: 0}]",
        "rung 1: exclude_worst wants a number above 0",
    ),
]


@pytest.mark.parametrize(("data", "sentence"), WRONG)
def test_what_is_wrong_is_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(BadRecipe, match=sentence) as refusal:
        reading.parse(data, "my.yaml")
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("my.yaml")


def test_negative_control_the_same_without_a_mistake_is_read() -> None:
    plan = reading.parse(GOOD + b"ladder: [{optimise: false}]", "my.yaml")
    assert plan.name == "my"
    assert plan.summary == "s"
    assert [step.arguments for step in plan.steps] == [Preprocess()]
    assert (plan.seed, plan.coded, plan.needs) == (None, False, ())
    assert plan.ladder[0].changes == {"preprocess": {"optimise": False}}


def test_everything_that_a_recipe_may_say_is_read() -> None:
    plan = reading.parse(
        b"summary: all of it\nseed: 3\ncoded: true\nneeds: [cuda]\nsteps:\n  - preprocess\n"
        b"  - int8_static: {calibrator: Entropy, per_channel: no, op_types: [Conv, MatMul], calibration_rows: 7}\n"
        b"ladder:\n  - {exclude_worst: 2, calibrator: Percentile}\n  - {int8_static: {reduce_range: yes}}\n"
        b"  - {training: qat}\n",
        "folder/all.yaml",
    )
    assert (plan.name, plan.seed, plan.coded, plan.needs) == ("all", 3, True, ("cuda",))
    expected = Int8Static(calibrator="Entropy", per_channel=False, op_types=("Conv", "MatMul"), calibration_rows=7)
    assert plan.steps[1].arguments == expected
    first, second, third = plan.ladder
    assert (first.exclude_worst, first.changes["int8_static"]) == (2, {"calibrator": "Percentile"})
    assert second.changes["int8_static"] == {"reduce_range": True}
    assert third.training == "qat"
    assert first.words == "exclude_worst 2, calibrator Percentile"
    assert second.words == "int8_static reduce_range=yes"


@pytest.mark.parametrize("name", reading.names())
def test_every_recipe_that_comes_along_is_read_and_says_what_it_is(name: str) -> None:
    plan = reading.named(name)
    assert plan.name == name
    assert len(plan.summary) <= 120
    assert plan.steps


def test_the_shipped_variants_recipe_is_the_one_in_its_card() -> None:
    card = SHIPPED.read_card("digits", "1-int8")
    assert card is not None
    assert reading.named("int8-static").recipe == card.recipe


def test_a_name_that_is_unknown_gets_the_nearest_one() -> None:
    with pytest.raises(BadRecipe, match=r"There is no recipe 'int8-statc'; did you mean 'int8-static'\?"):
        reading.find("int8-statc")


def test_a_recipe_of_ones_own_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "my own.yaml"
    path.write_bytes(GOOD)
    assert reading.find(str(path)).name == "my-own"


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match=r"none\.yaml cannot be read: no such file"):
        reading.find(str(tmp_path / "none.yaml"))
    (tmp_path / "large.yaml").write_bytes(b"#" * (reading.RECIPE_LIMIT_BYTES + 1))
    with pytest.raises(BadRecipe, match=r"large\.yaml has 65537 bytes"):
        reading.find(str(tmp_path / "large.yaml"))
