"""The family `mnist`: LeNet-300-100 as version `1` and LeNet-5 as version `2`, each with its variants.

What the Deep Compression paper starts from, so that its figures can be held against ours. One model, as both take the
same images and give the same logits. Choices were made on the development part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from models.data import mnist
from models.families.build import EXPORT, Build, Student, deep, distilled, exported, pruned
from models.families.by_recipe import by_recipe
from models.families.deep import Deep
from models.families.family import NOT_ELSEWHERE, Bench, Family
from models.families.training import Run, train
from models.made import Made
from models.train.augment import Distortion
from models.train.lenets import LeNet5, LeNet300
from models.train.networks import reproducible
from models.train.prune_structured import PruneStructured
from models.train.settings import TrainSettings
from service.repository.card import Recipe, Step

OUTPUT = "logits"
CONFIG = b"""\
# Handwritten digits: `image` float32 [n, 1, 28, 28] with values 0 to 255, `logits` float32 [n, 10].
# Version 1 is LeNet-300-100, version 2 is LeNet-5.
max_batch_size: 128
labels: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
finite_outputs: true
"""
NOT_VERIFIED = (
    "Accuracy on images from another source than the data set's.",
    NOT_ELSEWHERE,
)
LEARNT_WITH = Distortion(rotation_degrees=10.0, scale=0.1, shift_pixels=1.5)
# Few weights have no room for what stronger distortions would teach.
PRUNED_WITH = Distortion(rotation_degrees=4.0, scale=0.04, shift_pixels=0.6)


@dataclass(frozen=True, slots=True)
class Plans:
    """How one of the two networks and its variants are made.

    Attributes:
        version: id of the full version.
        build: of the network.
        settings: of the full version's training.
        student: what is distilled into.
        cut: which channels the structurally pruned variant loses.
        taught: how these two learn.
        deep: how it is pruned, shared and coded.
    """

    version: str
    build: Build
    settings: TrainSettings
    student: Student
    cut: PruneStructured
    taught: TrainSettings
    deep: Deep


def _settings(epochs: int) -> TrainSettings:
    return TrainSettings(
        epochs=epochs, batch_rows=128, learning_rate=3e-3, weight_decay=1e-2, label_smoothing=0.0, patience=epochs
    )


def _build(name: str, network: Callable[[], nn.Module]) -> Build:
    return Build(name, (1, 28, 28), mnist.INPUT, OUTPUT, network, PRUNED_WITH)


def _lenet_5(channels: tuple[int, int] = (20, 50), hidden: int = 500) -> nn.Module:
    """Convolutions of few channels train a third faster on a CPU with their channels on the last axis."""
    return LeNet5(channels, hidden).to(memory_format=torch.channels_last)


LENET_300 = Plans(
    version="1",
    build=_build("lenet-300-100", LeNet300),
    settings=_settings(20),
    student=Student("lenet-100-50", lambda: LeNet300((100, 50))),
    cut=PruneStructured(ratio=0.6),
    taught=_settings(12),
    deep=Deep(
        layers=("layers.1", "layers.3", "layers.5"),
        keep=((0.4, 0.4, 0.6), (0.2, 0.2, 0.5), (0.1, 0.12, 0.4), (0.085, 0.1, 0.3)),
        epochs=(2, 2, 4, 8),
        values=(31, 31, 31),
        distortion=PRUNED_WITH,
    ),
)
LENET_5 = Plans(
    version="2",
    build=_build("lenet-5", _lenet_5),
    settings=_settings(10),
    student=Student("lenet-5 of 8 and 16 channels, 64 units", lambda: _lenet_5((8, 16), 64)),
    cut=PruneStructured(ratio=0.5, round_to=4),
    taught=_settings(6),
    deep=Deep(
        layers=("layers.0", "layers.2", "layers.5", "layers.7"),
        keep=((0.9, 0.4, 0.3, 0.6), (0.7, 0.12, 0.05, 0.25)),
        epochs=(1, 3),
        values=(31, 31, 31, 31),
        sharing_epochs=1,
        distortion=PRUNED_WITH,
    ),
)


def _full(plans: Plans) -> Callable[[Bench], Made]:
    build, settings = plans.build, plans.settings
    learning = Step(technique="train", arguments={**settings.arguments(), **asdict(LEARNT_WITH)})
    built = Step(technique="build", arguments={"network": build.name})
    recipe = Recipe(name=f"mnist-{build.name}", seed=settings.seed, steps=(built, learning, EXPORT))

    def make(bench: Bench) -> Made:
        reproducible(settings.seed)
        run = Run(plans.version, settings, {"network": build.name, **asdict(LEARNT_WITH)}, augment=LEARNT_WITH)
        return Made(plans.version, exported(bench, build, train(bench, build.network(), run)), recipe)

    return make


def _family(plans: Plans) -> Family:
    version, build = plans.version, plans.build
    return Family(
        name=mnist.NAME,
        output=OUTPUT,
        data_name=mnist.NAME,
        source=mnist.SOURCE,
        licence=f"Apache-2.0; data {mnist.LICENCE}",
        config=CONFIG,
        load=mnist.load,
        full=_full(plans),
        variants=(
            by_recipe(f"{version}-int8-static", "int8-static", "Weights and activations in 8 bits."),
            by_recipe(f"{version}-int8-weights", "int8-weights", "Weights of linear layers in 8 bits."),
            pruned(build, f"{version}-pruned", plans.cut, plans.taught),
            distilled(build, f"{version}-distilled", plans.student, plans.taught),
            deep(build, f"{version}-deep", plans.deep),
        ),
        not_verified=NOT_VERIFIED,
        version=version,
    )


FAMILIES = (_family(LENET_300), _family(LENET_5))
