"""A training run of a family as a stage of its workbench: seen while it runs, gone on with after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from models.data.samples import Samples
from models.families.family import Bench
from models.train import weights
from models.train.examples import Examples
from models.train.loop import Augment, Epoch, Objective, Trainer
from models.train.networks import reproducible
from models.train.settings import TrainSettings

QUICK_ROWS = 400


@dataclass(frozen=True, slots=True)
class Run:
    """One training run.

    Attributes:
        name: of its stage, unique in the family.
        settings: how it trains.
        depends_on: what else the weights follow from; JSON can hold it.
        objective: see `Trainer`; also `augment` and `after_step`.
    """

    name: str
    settings: TrainSettings
    depends_on: Mapping[str, Any]
    objective: Objective | None = None
    augment: Augment | None = None
    after_step: Callable[[], None] = lambda: None


def quickly(settings: TrainSettings, bench: Bench) -> TrainSettings:
    """The settings, or one epoch of them where the bench is quick."""
    return replace(settings, epochs=1) if bench.quick else settings


def examples(samples: Samples, *, rows: int | None = None) -> Examples:
    """Samples of one or more inputs as tensors, in the order of the inputs; the first `rows` of them."""
    inputs = tuple(torch.from_numpy(array[:rows]) for array in samples.inputs.values())
    return Examples(inputs, torch.from_numpy(samples.labels[:rows]))


def train(bench: Bench, network: nn.Module, run: Run) -> nn.Module:
    """Trains the network in place, or fills it with the weights of a run that was finished; in eval mode then."""
    settings = quickly(run.settings, bench)
    depends_on = {"settings": asdict(settings), "quick": bench.quick, **run.depends_on}
    reproducible(settings.seed)

    def make() -> bytes:
        rows = QUICK_ROWS if bench.quick else None
        trainer = Trainer(
            network,
            examples(bench.parts["training"], rows=rows),
            examples(bench.parts["development"], rows=rows),
            settings,
            objective=run.objective,
            augment=run.augment,
            after_step=run.after_step,
            checkpoint=bench.work.checkpoint(run.name, {**depends_on, "processes": bench.processes}),
        )
        with bench.work.progress.task(run.name, settings.epochs) as step:
            trainer.run(lambda epoch: step(_figures(epoch)))
        return weights.to_bytes(network)

    weights.from_bytes(network, bench.work.stage(run.name, depends_on, make))
    return network


def _figures(epoch: Epoch) -> str:
    return f"development loss {epoch.development_loss:.4f}, accuracy {epoch.development_accuracy:.4f}"
