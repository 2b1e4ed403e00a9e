"""Deep Compression while training: prune in rounds, share the values that are left, train those, code the file.

Every round learns from the full version. Source: Han, Mao, Dally, "Deep Compression: Compressing Deep Neural Networks
with Pruning, Trained Quantization and Huffman Coding" (ICLR 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import nn

from models import describe
from models.families.family import Bench
from models.families.training import Run, train
from models.train import pruning, sharing, weights
from models.train.augment import Distortion
from models.train.distil import distillation
from models.train.settings import TrainSettings
from service.repository.card import Recipe, Step


@dataclass(frozen=True, slots=True)
class Deep:
    """How a network is compressed; every field goes into the card.

    Attributes:
        layers: names of the modules whose weights are pruned and shared.
        keep: for each round the share of its weights that each layer keeps, as many as there are layers.
        epochs: of each round.
        values: how many values besides zero each layer is left with.
        sharing_epochs: in which the shared values are trained.
        learning_rate: while pruning; `sharing_learning_rate` while the shared values are trained.
        temperature: see `distillation`; also `share`.
        distortion: of the images that it learns from.
        seed: of the first round; each later one adds 1.
    """

    layers: tuple[str, ...]
    keep: tuple[tuple[float, ...], ...]
    epochs: tuple[int, ...]
    values: tuple[int, ...]
    sharing_epochs: int = 3
    batch_rows: int = 128
    learning_rate: float = 2e-3
    sharing_learning_rate: float = 5e-4
    temperature: float = 4.0
    share: float = 0.8
    distortion: Distortion = field(default_factory=Distortion)
    seed: int = 0

    def steps(self) -> tuple[Step, ...]:
        """As a card tells them."""
        learning: dict[str, Any] = {
            "batch_rows": self.batch_rows,
            "learning_rate": self.learning_rate,
            "temperature": self.temperature,
            "share": self.share,
            **asdict(self.distortion),
        }
        rounds = [
            Step(technique="prune", arguments={"layers": self.layers, "keep": keep, "epochs": epochs, **learning})
            for keep, epochs in zip(self.keep, self.epochs, strict=True)
        ]
        shared = {"layers": self.layers, "values": self.values, "epochs": self.sharing_epochs, **learning}
        shared["learning_rate"] = self.sharing_learning_rate
        return (*rounds, Step(technique="share", arguments=shared), Step(technique="code", arguments={}))

    def recipe(self, name: str, export: Step) -> Recipe:
        """The card's recipe; `export` is how the network becomes an ONNX file, just before it is coded."""
        *training, code = self.steps()
        return Recipe(name=name, seed=self.seed, steps=(*training, export, code))


def compress(bench: Bench, name: str, teacher: nn.Module, network: nn.Module, plan: Deep) -> nn.Module:
    """The network pruned and shared, in place.

    Args:
        bench: what it learns from.
        name: of the stages, which are told apart by the round.
        teacher: the full version's network, in eval mode.
        network: of the same build, with the full version's weights.
        plan: how.
    """
    told = {"teacher": describe.sha256(weights.to_bytes(teacher))}
    objective = distillation(teacher, plan.temperature, plan.share)
    base = TrainSettings(
        batch_rows=plan.batch_rows, learning_rate=plan.learning_rate, weight_decay=0.0, seed=plan.seed, patience=1000
    )

    def learn(stage: str, settings: TrainSettings, depends_on: Mapping[str, Any], *, held: bool) -> None:
        hook = pruning.hold(network) if held else lambda: None
        run = Run(f"{name}-{stage}", settings, {**told, **depends_on}, objective, plan.distortion, hook)
        train(bench, network, run)

    rounds = list(zip(plan.keep, plan.epochs, strict=True))
    for number, (keep, epochs) in enumerate(rounds, 1):
        pruning.prune(network, {f"{layer}.weight": part for layer, part in zip(plan.layers, keep, strict=True)})
        before = {"rounds": rounds[:number], "layers": plan.layers, **_learning(plan)}
        learn(f"prune-{number}", replace(base, epochs=epochs, seed=plan.seed + number - 1), before, held=True)
    sharing.share(network, dict(zip(plan.layers, plan.values, strict=True)))
    settings = replace(
        base,
        epochs=plan.sharing_epochs,
        learning_rate=plan.sharing_learning_rate,
        seed=plan.seed + len(rounds),
    )
    everything = {"rounds": rounds, "layers": plan.layers, "values": plan.values, **_learning(plan)}
    learn("share", settings, everything, held=False)
    sharing.settle(network)
    return network


def _learning(plan: Deep) -> dict[str, Any]:
    return {"temperature": plan.temperature, "share": plan.share, "distortion": asdict(plan.distortion)}
