"""A plan says all of itself in a card, and a rung changes what it names and nothing else."""

import pytest

from models.compress.int8_static import Int8Static
from models.recipes.plan import Plan
from models.recipes.reading import parse
from service.repository.card import Step

PLAN = parse(
    b"summary: s\nseed: 1\nsteps: [preprocess, {int8_static: {exclude_nodes: [a]}}]\n"
    b"ladder:\n  - {exclude_worst: 2}\n  - {calibrator: Entropy}\n  - {exclude_worst: 1, exclude_nodes: [z]}\n",
    "quant.yaml",
)


def arguments(plan: Plan) -> Int8Static:
    found = plan.steps[1].arguments
    assert isinstance(found, Int8Static)
    return found


def test_the_card_gets_every_argument_with_its_default() -> None:
    recipe = PLAN.recipe
    assert (recipe.name, recipe.seed) == ("quant", 1)
    assert [step.technique for step in recipe.steps] == ["preprocess", "int8_static"]
    assert recipe.steps[0].arguments == {"symbolic_shapes": True, "optimise": True}
    told = recipe.steps[1].arguments
    assert (told["exclude_nodes"], told["calibrator"], told["calibration_rows"]) == (("a",), "MinMax", 50)


def test_a_rung_leaves_the_worst_nodes_out_and_keeps_what_was_out() -> None:
    climbed = PLAN.on_rung(1, ("w1", "a", "w2"))
    assert arguments(climbed).exclude_nodes == ("a", "w1", "w2")
    assert climbed.steps[0] == PLAN.steps[0]
    assert climbed.recipe.steps[-1] == Step(
        technique="ladder", arguments={"rung": 1, "of": 3, "change": "exclude_worst 2"}
    )


def test_a_rung_changes_the_arguments_that_it_names_alone() -> None:
    climbed = PLAN.on_rung(2)
    assert arguments(climbed) == Int8Static(calibrator="Entropy", exclude_nodes=("a",))
    assert arguments(PLAN.on_rung(3, ("w",))).exclude_nodes == ("z", "w")


def test_rungs_do_not_add_up_and_the_plan_itself_stays_as_it_is() -> None:
    before = PLAN.recipe
    assert arguments(PLAN.on_rung(1, ("w",))).calibrator == "MinMax"
    assert PLAN.recipe == before
    assert PLAN.recipe != PLAN.on_rung(2).recipe


def test_only_steps_that_take_nodes_to_leave_out_can_leave_some_out() -> None:
    assert PLAN.excludes
    assert [step.excludes for step in PLAN.steps] == [False, True]
    assert not parse(b"summary: s\nsteps: [preprocess]", "p.yaml").excludes


def test_there_is_no_rung_beyond_the_last() -> None:
    with pytest.raises(IndexError):
        PLAN.on_rung(4)
