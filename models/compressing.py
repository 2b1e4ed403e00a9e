"""From an order to published variants: one full version, one variant for each recipe, each on its own.

A recipe that does not apply to this model, or whose result does not run, stops no other one. Each variant is
published when it is finished, so that an interruption loses only the one in work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from models import assemble, chain, ladder
from models.evaluate import appraise
from models.evaluate.ledger import AlreadyChosen
from models.made import Made
from models.order import Job, Wanted
from models.publish import AlreadyPublished
from service.core.errors import RetortError
from service.repository.card import Recipe, Size

GIVEN = Recipe(name="given")
CHOOSING_RUNS = 50

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of them.

    Attributes:
        wanted: what was asked for.
        published: None where it could not be made.
        refusal: why not, in one sentence; "" where it was.
        tried: what the ladder tried, a sentence each.
    """

    wanted: Wanted
    published: assemble.Published | None = None
    refusal: str = ""
    tried: tuple[str, ...] = ()


def publish_full(job: Job, on_step: OnStep) -> assemble.Published:
    """The full version, published or found.

    Raises:
        AlreadyPublished: its id has another model.
    """
    on_step(f"{job.full_version}: measuring the full version")
    return assemble.publish_full(Made(job.full_version, job.onnx, GIVEN), job.setup)


def publish_variants(job: Job, full: assemble.Published, on_step: OnStep) -> Iterator[Outcome]:
    """Each variant in turn, when it is published or given up."""
    for wanted in job.wanted:
        tried: tuple[str, ...] = ()
        try:
            made, tried = _make(job, full, wanted, on_step)
            on_step(f"{wanted.version}: measuring beside the full version")
            yield Outcome(wanted, assemble.publish_variant(made, job.setup, full), tried=tried)
        except (chain.StepFailed, AlreadyChosen, AlreadyPublished, RetortError) as error:
            yield Outcome(wanted, refusal=str(error), tried=tried)


def _make(job: Job, full: assemble.Published, wanted: Wanted, on_step: OnStep) -> tuple[Made, tuple[str, ...]]:
    sets = job.setup.sets
    calibration = None if sets.calibration is None else sets.calibration.inputs
    if not job.until_pass or sets.development is None:
        return chain.make(wanted.plan, wanted.version, job.onnx, calibration, on_step=on_step), ()
    setup = job.setup
    choosing = replace(setup.trial, test=sets.development, runs=min(setup.runs, CHOOSING_RUNS))

    def judge(made: Made) -> appraise.Appraisal:
        on_step(f"{wanted.version}: judging on the development set")
        return appraise.appraise_variant(
            made.onnx,
            choosing,
            full_onnx=full.onnx,
            full=full.card.size or Size(file_bytes=len(full.onnx)),
            profile=setup.profile,
            coded_bytes=None if made.coded is None else len(made.coded),
        )

    ground = ladder.Ground(wanted.version, job.onnx, calibration, sets.development, setup.output, setup.bench)
    climbed = ladder.climb(wanted.plan, ground, judge, on_step=on_step)
    return climbed.made, climbed.tried
