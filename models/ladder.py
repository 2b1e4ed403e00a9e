"""The ladder: what to try when the gate says no on the development set, in the order that the recipe gives.

Everything is judged on the development set, and only what is chosen sees the test set. A rung that needs training
is left to the families that train. What was tried is told, and the chosen rung stands in the card's recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from models import chain
from models.compress import sensitivity
from models.compress.checks import NotApplied
from models.compress.technique import Material
from models.data.samples import Samples
from models.evaluate import measure
from models.evaluate.appraise import Appraisal
from models.made import Made
from models.recipes.plan import EXCLUDE, Plan, Rung
from service.core.contract import Arrays
from service.core.errors import RetortError

RANKING_ROWS = 256
_OP_TYPES = ("Conv", "Gemm", "MatMul")

Judge = Callable[[Made], Appraisal]


@dataclass(frozen=True, slots=True)
class Ground:
    """What every rung starts from.

    Attributes:
        version: the id of the variant.
        onnx: the full version.
        calibration: for the techniques; None where there is none.
        development: what nodes are ranked on.
        output: of the graph, that is judged.
        bench: this machine.
    """

    version: str
    onnx: bytes
    calibration: Arrays | None
    development: Samples
    output: str
    bench: measure.Bench


@dataclass(frozen=True, slots=True)
class Climb:
    """What was chosen on the development set, and one sentence for everything that was tried, in order."""

    made: Made
    tried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Judged:
    """A variant, and what the development set says of it."""

    made: Made
    appraisal: Appraisal

    @property
    def passed(self) -> bool:
        """Whether every rule of the gate holds."""
        return self.faults[:2] == (0, 0)

    @property
    def faults(self) -> tuple[int, int, float]:
        """Rules that say no, rules that cannot decide, and the share of rows that do not agree; less is better."""
        outcomes = [rule.outcome for rule in self.appraisal.decision.rules] if self.appraisal.decision else ["fail"]
        agreement = self.appraisal.quality.agreement
        return outcomes.count("fail"), outcomes.count("insufficient-data"), -(agreement or 0.0)

    def told(self, name: str) -> str:
        """One sentence on it."""
        decision = self.appraisal.decision
        reasons = "; ".join(decision.reasons) if decision and not self.passed else "every rule holds"
        return f"{name}: {decision.verdict if decision else 'fail'} on the development set: {reasons}."


def climb(plan: Plan, ground: Ground, judge: Judge, *, on_step: chain.OnStep) -> Climb:
    """The recipe as it stands, or the first rung that passes on the development set.

    Where none does, the one that breaks the fewest rules of the gate; among equals the one that leaves the fewest
    undecided, for small development sets decide little; then the one that agrees best with the full version.

    Args:
        plan: the recipe with its ladder.
        ground: what to start from.
        judge: appraises on the development set.
        on_step: told of every step.

    Raises:
        StepFailed: the recipe as it stands does not apply; a rung that does not is only told.
    """
    made = chain.make(plan, ground.version, ground.onnx, ground.calibration, on_step=on_step)
    found = [_Judged(made, judge(made))]
    tried = [found[0].told("as it stands")]
    worst: tuple[str, ...] | None = None
    for number, rung in enumerate(plan.ladder, 1):
        if found[-1].passed:
            break
        name = f"rung {number} of {len(plan.ladder)}, {rung.words}"
        if rung.training is not None:
            tried.append(f"{name}: left out, it needs a training recipe (retort train).")
            continue
        try:
            if rung.exclude_worst and worst is None:
                worst = rank(plan, ground, on_step=on_step)
            changed = plan.on_rung(number, _worst_of(rung, worst))
            made = chain.make(changed, ground.version, ground.onnx, ground.calibration, on_step=on_step)
            found.append(_Judged(made, judge(made)))
        except (chain.StepFailed, RetortError) as error:
            tried.append(f"{name}: does not apply; {error}")
            continue
        tried.append(found[-1].told(name))
    return Climb(min(found, key=lambda one: one.faults).made, tuple(tried))


def rank(plan: Plan, ground: Ground, *, on_step: chain.OnStep) -> tuple[str, ...]:
    """The nodes that suffer most, worst first, of the first step that can leave nodes out.

    The error is the relative L2 distance of the judged output from the full version's, on development rows.

    Raises:
        StepFailed: the steps before do not apply, or no node could be left out.
    """
    at = next(number for number, step in enumerate(plan.steps) if step.excludes)
    before = replace(plan, steps=plan.steps[:at])
    model = chain.run(before, ground.onnx, ground.calibration, on_step=on_step)
    step = plan.steps[at]
    rows = ground.development.take(range(min(len(ground.development), RANKING_ROWS))).inputs
    expected = _answers(ground.onnx, rows, ground)
    material = Material(ground.calibration, chain.seed_of(plan))
    where = f"Recipe {plan.name}, ranking for {step.technique.name}"

    def quantise(onnx: bytes, exclude: tuple[str, ...]) -> bytes:
        try:
            arguments = replace(step.arguments, **{EXCLUDE: exclude})
            return chain.take(replace(step, arguments=arguments), onnx, material, where)
        except chain.StepFailed as error:
            raise NotApplied(str(error)) from error

    op_types = getattr(step.arguments, "op_types", _OP_TYPES)
    groups = sensitivity.grouped(sensitivity.candidates(model, op_types))
    if not groups:
        raise chain.StepFailed(f"{where}: there is no node that could be left out.")
    on_step(f"{plan.name}: ranking {len(groups)} nodes by what {step.technique.name} does to each")
    return sensitivity.rank_nodes(model, quantise, partial(_error, expected=expected, rows=rows, ground=ground), groups)


def _error(onnx: bytes, *, expected: np.ndarray[Any, Any], rows: Arrays, ground: Ground) -> float:
    try:
        found = _answers(onnx, rows, ground)
    except RetortError:  # nothing is worse than what does not run
        return float("nan")
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("nan")
    return float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-30))


def _answers(onnx: bytes, rows: Arrays, ground: Ground) -> np.ndarray[Any, Any]:
    runner = measure.open_runner(onnx, ground.bench)
    try:
        return measure.answers(runner, rows, ground.output).logits.astype(np.float64)
    finally:
        runner.close()


def _worst_of(rung: Rung, worst: tuple[str, ...] | None) -> tuple[str, ...]:
    return (worst or ())[: rung.exclude_worst]
