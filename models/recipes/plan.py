"""A recipe, read and checked: techniques with their arguments, and what to try when the result is not good enough.

Pure data; files are `reading`'s, running is `models.chain`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from models.compress.technique import Technique, arguments_of
from service.repository.card import Argument, Recipe, Step

EXCLUDE = "exclude_nodes"
BATCH = "calibration_rows"
LADDER = "ladder"


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One technique, and its arguments: an instance of `technique.arguments`."""

    technique: Technique[Any]
    arguments: Any

    def as_step(self) -> Step:
        """The step as a card has it, defaults included."""
        return Step(technique=self.technique.name, arguments=arguments_of(self.arguments))

    @property
    def excludes(self) -> bool:
        """Whether single nodes can be left out of it."""
        return any(one.name == EXCLUDE for one in fields(self.arguments))


@dataclass(frozen=True, slots=True)
class Rung:
    """One thing to try when the gate fails, in place of the recipe as it stands; rungs do not add up.

    Attributes:
        words: the rung as it was written, on one line.
        changes: technique -> the arguments that its steps get instead.
        exclude_worst: how many of the most sensitive nodes are left as they are.
        training: the name of a technique that needs a training recipe; None where none is needed.
    """

    words: str
    changes: Mapping[str, Mapping[str, Argument]]
    exclude_worst: int = 0
    training: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole recipe.

    Attributes:
        name: of its file.
        summary: one sentence.
        steps: in order; at least one.
        seed: of everything that is drawn; None where nothing is.
        coded: whether the version is published in the coded form.
        needs: what the version cannot be served well without.
        ladder: what to try, in order.
        climbed: the rung that this plan is, as a step of the card; None for the recipe as it stands.
    """

    name: str
    summary: str
    steps: tuple[PlanStep, ...]
    seed: int | None = None
    coded: bool = False
    needs: tuple[str, ...] = ()
    ladder: tuple[Rung, ...] = ()
    climbed: Step | None = None

    @property
    def recipe(self) -> Recipe:
        """What the card says of it: every step with every argument, and last the rung, if it is one."""
        steps = tuple(step.as_step() for step in self.steps)
        return Recipe(name=self.name, seed=self.seed, steps=steps if self.climbed is None else (*steps, self.climbed))

    @property
    def excludes(self) -> bool:
        """Whether single nodes can be left out of any step."""
        return any(step.excludes for step in self.steps)

    def fitted(self, rows: int) -> Plan:
        """The plan for a model whose runs take exactly `rows` rows: calibration batches are as large."""
        steps = tuple(
            replace(step, arguments=replace(step.arguments, **{BATCH: rows}))
            if any(one.name == BATCH for one in fields(step.arguments))
            else step
            for step in self.steps
        )
        return replace(self, steps=steps)

    def on_rung(self, number: int, worst: tuple[str, ...] = ()) -> Plan:
        """The plan that rung `number`, counted from 1, asks for.

        Args:
            number: of the rung.
            worst: names of the nodes to leave out, most sensitive first; as many as the rung excludes.
        """
        rung = self.ladder[number - 1]
        steps = tuple(_changed(step, rung.changes.get(step.technique.name, {}), worst) for step in self.steps)
        climbed = Step(technique=LADDER, arguments={"rung": number, "of": len(self.ladder), "change": rung.words})
        return replace(self, steps=steps, climbed=climbed)


def _changed(step: PlanStep, arguments: Mapping[str, Argument], worst: tuple[str, ...]) -> PlanStep:
    changes: dict[str, Any] = dict(arguments)
    if worst and step.excludes:
        already = changes.get(EXCLUDE, getattr(step.arguments, EXCLUDE))
        changes[EXCLUDE] = (*already, *(name for name in worst if name not in already))
    return replace(step, arguments=replace(step.arguments, **changes)) if changes else step
