"""Variants that learn from their full version, for networks of one image: distilled, structurally pruned, deep.

A family says how its network is built; here is what the families of images have in common. The teacher is always the
published file, read back into a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from models import describe
from models.compress.deep_file import encode
from models.families import deep as deep_compression
from models.families.family import Bench, Variant
from models.families.training import Run, examples, train
from models.made import Made
from models.train import weights
from models.train.augment import Distortion
from models.train.distil import distillation
from models.train.export import OPSET, export, parity
from models.train.networks import reproducible
from models.train.prune_structured import PruneStructured, prune_channels
from models.train.settings import TrainSettings
from service.repository.card import Recipe, Step

PARITY_ROWS = 500
PARITY = 1e-3
EXPORT = Step(technique="export", arguments={"opset": OPSET})


@dataclass(frozen=True, slots=True)
class Build:
    """A full version as something to learn from.

    Attributes:
        name: begins the names of its variants' recipes.
        image: shape of one input, without the batch.
        input_name: of the graph; also `output_name`.
        network: makes the network that `weights.load_onnx` fills from the full version's file.
        distortion: of the images that a variant learns from.
        temperature: see `distillation`; also `share`.
    """

    name: str
    image: tuple[int, ...]
    input_name: str
    output_name: str
    network: Callable[[], nn.Module]
    distortion: Distortion
    temperature: float = 4.0
    share: float = 0.8

    def teacher(self, full: Made) -> nn.Module:
        """The full version's network, in eval mode."""
        network = self.network()
        weights.load_onnx(network, full.onnx)
        return network

    def distilling(self, settings: TrainSettings) -> Step:
        """As a card tells it."""
        told = {"temperature": self.temperature, "share": self.share}
        return Step(technique="distil", arguments={**told, **settings.arguments(), **asdict(self.distortion)})


@dataclass(frozen=True, slots=True)
class Student:
    """A smaller network: what cards call it, and what makes it with new weights."""

    name: str
    network: Callable[[], nn.Module]


def distilled(build: Build, version: str, student: Student, settings: TrainSettings) -> Variant:
    """A smaller network that learns from the full version."""
    built = Step(technique="build", arguments={"network": student.name})
    recipe = Recipe(
        name=f"{build.name}-distilled", seed=settings.seed, steps=(built, build.distilling(settings), EXPORT)
    )

    def make(bench: Bench, full: Made) -> Made:
        reproducible(settings.seed)
        network = taught(bench, build, version, student.network(), build.teacher(full), settings)
        return Made(version, exported(bench, build, network), recipe)

    return Variant(version, f"A smaller network, {student.name}, taught by the full version.", make)


def pruned(build: Build, version: str, cut: PruneStructured, settings: TrainSettings) -> Variant:
    """The full version's network without some of its channels, taught by what it was."""
    cutting = Step(technique="prune_structured", arguments=asdict(cut))
    recipe = Recipe(
        name=f"{build.name}-pruned", seed=settings.seed, steps=(cutting, build.distilling(settings), EXPORT)
    )

    def make(bench: Bench, full: Made) -> Made:
        reproducible(settings.seed)
        teacher = build.teacher(full)
        some = examples(bench.parts["calibration"])
        network = prune_channels(teacher, some.inputs[0][:2], cut, some).network
        return Made(version, exported(bench, build, taught(bench, build, version, network, teacher, settings)), recipe)

    return Variant(version, "Whole channels are cut out, and the full version teaches what is left.", make)


def deep(build: Build, version: str, plan: deep_compression.Deep) -> Variant:
    """The full version's network pruned, its values shared, its file coded."""
    recipe = plan.recipe(f"{build.name}-deep", EXPORT)

    def make(bench: Bench, full: Made) -> Made:
        reproducible(plan.seed)
        teacher, network = build.teacher(full), build.teacher(full)
        onnx = exported(bench, build, deep_compression.compress(bench, version, teacher, network, plan))
        return Made(version, onnx, recipe, coded=encode(onnx))

    return Variant(version, "Deep Compression: weights pruned, values shared, the file Huffman-coded.", make)


def taught(
    bench: Bench, build: Build, stage: str, network: nn.Module, teacher: nn.Module, settings: TrainSettings
) -> nn.Module:
    """The network after it learnt from the teacher, in place."""
    hashes = {who: describe.sha256(weights.to_bytes(one)) for who, one in (("student", network), ("teacher", teacher))}
    told = {**hashes, "temperature": build.temperature, "share": build.share, "distortion": asdict(build.distortion)}
    objective = distillation(teacher, build.temperature, build.share)
    return train(bench, network, Run(stage, settings, told, objective, build.distortion))


def exported(bench: Bench, build: Build, network: nn.Module) -> bytes:
    """The network as an ONNX file that answers as it does on development rows.

    Raises:
        ValueError: it does not.
    """
    plain = network.to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, *build.image)
    onnx = export(plain, example, input_name=build.input_name, output_name=build.output_name)
    parity(plain, onnx, examples(bench.parts["development"], rows=PARITY_ROWS), tolerance=PARITY)
    return onnx
