"""Runs a recipe: each step on what the one before it made, with progress, each held to what it says it does.

The calibration set is all the data that a chain is given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout

from models.compress.checks import NotApplied
from models.compress.technique import Material, NoCalibration
from models.made import Made
from models.recipes.plan import Plan, PlanStep
from service.core.contract import Arrays

OnStep = Callable[[str], None]
_SEED = 0


class StepFailed(ValueError):
    """A step of a recipe did not do what it says; one sentence: which recipe, which step, and why."""


def make(plan: Plan, version: str, model: bytes, calibration: Arrays | None, *, on_step: OnStep) -> Made:
    """The variant that a recipe makes of a model.

    Args:
        plan: the recipe.
        version: the id of the variant.
        model: the full version's ONNX file, weights inside.
        calibration: input name -> (n, ...), in the model's dtypes; None where there is none.
        on_step: called before each step with what it is.

    Raises:
        StepFailed: a step does not apply to this model, or needs a calibration set and has none.
    """
    onnx = run(plan, model, calibration, on_step=on_step)
    coded = _coded(plan, onnx, on_step) if plan.coded else None
    return Made(version, onnx, plan.recipe, coded, plan.needs)


def run(plan: Plan, model: bytes, calibration: Arrays | None, *, on_step: OnStep) -> bytes:
    """As `make`, the ONNX file alone."""
    material = Material(calibration, seed_of(plan))
    for number, step in enumerate(plan.steps, 1):
        on_step(f"{plan.name}: {step.technique.name} ({number} of {len(plan.steps)})")
        where = f"Recipe {plan.name}, step {number} of {len(plan.steps)} ({step.technique.name})"
        model = take(step, model, material, where)
    return model


def take(step: PlanStep, model: bytes, material: Material, where: str) -> bytes:
    """One step.

    Raises:
        StepFailed: it does not apply, or breaks off; its sentence begins with `where`.
    """
    try:
        with redirect_stdout(sys.stderr):  # what libraries print is no answer of ours
            return step.technique.run(model, step.arguments, material)
    except (NotApplied, NoCalibration) as error:
        raise StepFailed(f"{where}: {error}") from error
    except Exception as error:  # of the libraries that techniques are built on, which raise what they like
        what = next(iter(str(error).splitlines()), "").rstrip(".")
        raise StepFailed(f"{where} broke off with {type(error).__name__}: {what}.") from error


def seed_of(plan: Plan) -> int:
    """What a recipe draws from; 0 where it says nothing, for it then draws nothing that matters."""
    return _SEED if plan.seed is None else plan.seed


def _coded(plan: Plan, onnx: bytes, on_step: OnStep) -> bytes:
    from models.compress.deep_file import encode  # noqa: PLC0415 - recipes that are not coded need it not
    from service.repository.deep_codec import decode  # noqa: PLC0415

    on_step(f"{plan.name}: coding")
    coded = encode(onnx)
    if decode(coded, limit_bytes=len(onnx)) != onnx:
        raise StepFailed(f"Recipe {plan.name}: what was coded does not decode to the same file.")
    return coded
