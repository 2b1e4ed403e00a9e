"""A variant that one of the recipes for any ONNX file makes of a family's full version."""

from __future__ import annotations

from models import chain
from models.families.family import Bench, Variant
from models.made import Made
from models.recipes import reading


def by_recipe(version: str, recipe: str, summary: str) -> Variant:
    """The variant of this id by the recipe of this name, which is read when it is made."""

    def make(bench: Bench, full: Made) -> Made:
        plan = reading.named(recipe)
        with bench.work.progress.task(version, len(plan.steps) + plan.coded) as step:
            return chain.make(plan, version, full.onnx, bench.parts["calibration"].inputs, on_step=step)

    return Variant(version, summary, make, trained=False)
