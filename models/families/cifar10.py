"""The model `cifar10`: ResNet-56 on photographs of ten kinds, its 8-bit, pruned and distilled variants.

The full version's weights are a given file's, fine-tuned on the images at hand; so are those of the small student.
Choices between forms of a variant are made on the development part. Needs torch and torch-pruning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from models.compress.int8_static import Int8Static, int8_static
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material
from models.data import cifar10
from models.evaluate.quality import score
from models.families.family import Bench, Family, Variant
from models.families.training import Run, train
from models.made import Made
from models.train.crop import MirrorAndShift
from models.train.distil import distillation
from models.train.export import OPSET, export
from models.train.prune_structured import Plan, Pruned, PruneStructured, prune_channels, rebuild
from models.train.resnet import ResNet, difference, take_weights, trunk_layers
from models.train.settings import TrainSettings
from service.repository.card import Recipe, Step
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

OUTPUT = "logits"
EXAMPLE_SHAPE = (2, 3, 32, 32)
QUICK_ROWS = 64
PARITY_ROWS, MOST_DIFFERENCE = 64, 1e-3
ENOUGH = 0.995
"""Share of the full version's accuracy on the development part with which the first form of a variant is taken."""

CONFIG = b"""\
# Photographs of ten kinds: `image` float32 [n, 3, 32, 32], RGB with values 0 to 255, `logits` float32 [n, 10].
max_batch_size: 32
labels: [airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck]
finite_outputs: true
"""
NOT_VERIFIED = (
    "Accuracy on images that were not stored as JPEG, or at another quality.",
    "Any provider but the CPU, and any class of CPU but those under quality.",
)
DISTORTION = MirrorAndShift()


@dataclass(frozen=True, slots=True)
class Teaching:
    """One network's training: how, on how many of the training rows, and after which teacher.

    Attributes:
        rows: of the training part, the first by hash; all would take hours here.
        temperature: of the distillation; 0 trains without a teacher.
        share: of the teacher's part in the loss.
    """

    settings: TrainSettings
    rows: int
    temperature: float = 0.0
    share: float = 0.0

    def step(self, **more: Any) -> Step:
        """As cards write it."""
        told = {"rows": self.rows, **more, **self.settings.arguments()}
        if self.temperature:
            told |= {"teacher": "1", "temperature": self.temperature, "share": self.share}
        return Step(technique="distil" if self.temperature else "train", arguments=told)


_SGD = TrainSettings(
    epochs=2,
    batch_rows=128,
    learning_rate=0.01,
    weight_decay=1e-4,
    label_smoothing=0.0,
    optimizer="sgd",
    schedule="cosine",
)
FULL = Teaching(_SGD, rows=20_000)
PRUNED = Teaching(replace(_SGD, epochs=3, learning_rate=0.02), rows=15_000, temperature=4.0, share=0.9)
STUDENT = Teaching(replace(_SGD, epochs=4, learning_rate=0.02), rows=20_000, temperature=4.0, share=0.9)

PRUNING = PruneStructured(ratio=0.5, scope="uniform", round_to=8)

# Quantising what lies between the convolutions as well keeps the whole trunk in 8 bits; Mul and Sub, which scale the
# pixels, stay as they are. What follows is tried in turn when that costs too much.
_ALL = ("Conv", "Gemm", "MatMul", "Add", "AveragePool", "Slice", "Pad", "Relu")
INT8_FORMS = (
    Int8Static(op_types=_ALL),
    Int8Static(),
    Int8Static(op_types=_ALL, calibrator="Percentile"),
    Int8Static(calibrator="Entropy"),
)


def make_full(bench: Bench) -> Made:
    """Version `1`: ResNet-56."""
    network = full_network(bench)
    steps = (*_taken("resnet56.onnx", bench), FULL.step(network="ResNet", blocks=9), *_distorted_and_exported())
    return Made("1", _exported(network), Recipe(name="cifar10-resnet56", seed=FULL.settings.seed, steps=steps))


def full_network(bench: Bench) -> ResNet:
    """ResNet-56 with the given weights, fine-tuned; from its stage if that was finished."""
    return _fine_tuned(bench, 9, "resnet56.onnx", FULL, None)


def make_int8(bench: Bench, full: Made) -> Made:
    """Version `1-int8`."""
    return _quantised("1-int8", bench, full, Made("1", full.onnx, Recipe(name="int8-static")), full.onnx)


def make_pruned(bench: Bench, full: Made) -> Made:
    """Version `1-pruned`: half of the channels inside the blocks, fine-tuned after the full version."""
    teacher = full_network(bench)
    arguments = replace(PRUNING, ignored=trunk_layers(teacher))
    network = _pruned(bench, teacher, arguments)
    told = {**asdict(arguments), "ignored": "the layers that write into the trunk"}
    steps = (Step(technique="prune_structured", arguments=told), PRUNED.step(), *_distorted_and_exported())
    return Made("1-pruned", _exported(network), Recipe(name="prune-structured", seed=_SGD.seed, steps=steps))


def make_student(bench: Bench, full: Made) -> Made:
    """Version `1-resnet20-distilled`: ResNet-20 with given weights, taught by the full version."""
    network = _fine_tuned(bench, 3, "resnet20.onnx", STUDENT, full_network(bench))
    steps = (*_taken("resnet20.onnx", bench), STUDENT.step(network="ResNet", blocks=3), *_distorted_and_exported())
    recipe = Recipe(name="distil-resnet20", seed=STUDENT.settings.seed, steps=steps)
    return Made("1-resnet20-distilled", _exported(network), recipe)


def make_pruned_int8(bench: Bench, full: Made) -> Made:
    """Version `1-pruned-int8`: the pruned one in 8 bits."""
    return _quantised("1-pruned-int8", bench, full, make_pruned(bench, full), full.onnx)


def make_student_int8(bench: Bench, full: Made) -> Made:
    """Version `1-resnet20-int8`: the student in 8 bits."""
    return _quantised("1-resnet20-int8", bench, full, make_student(bench, full), full.onnx)


def _fine_tuned(bench: Bench, blocks: int, file: str, teaching: Teaching, teacher: nn.Module | None) -> ResNet:
    network, given = ResNet(blocks), _given(file, bench)
    take_weights(network, given)
    images = bench.parts["calibration"].inputs[cifar10.INPUT][:PARITY_ROWS]
    apart = difference(network, given, images)
    if not apart <= MOST_DIFFERENCE:
        raise ValueError(f"The network with the weights of {file} answers otherwise than the file, by {apart:.2g}.")
    _teach(bench, file.removesuffix(".onnx"), network, teaching, teacher, {"given": _sha256(given)})
    return network


def _pruned(bench: Bench, teacher: ResNet, arguments: PruneStructured) -> nn.Module:
    """The pruned network, fine-tuned; its plan is a stage, so that an interrupted run goes on with the same one."""
    example = torch.zeros(EXAMPLE_SHAPE)
    depends_on = {"arguments": asdict(arguments), "full": _digest(teacher)}
    first: list[Pruned] = []

    def make() -> bytes:
        first.append(prune_channels(teacher, example, arguments))
        return first[0].plan.to_json()

    plan = Plan.from_json(bench.work.stage("pruning", depends_on, make))
    network = first[0].network if first else rebuild(teacher, example, plan)
    _teach(bench, "pruned", network, PRUNED, teacher, depends_on)
    return network


def _teach(
    bench: Bench, name: str, network: nn.Module, teaching: Teaching, teacher: nn.Module | None, depends_on: Any
) -> None:
    """Trains in place, as a stage."""
    rows = QUICK_ROWS if bench.quick else teaching.rows
    training = bench.parts["training"]
    parts = {**bench.parts, "training": training.take(range(min(rows, len(training))))}
    told = {**depends_on, "teaching": asdict(teaching), "teacher": None if teacher is None else _digest(teacher)}
    objective = None if teacher is None else distillation(teacher, teaching.temperature, teaching.share)
    train(replace(bench, parts=parts), network, Run(name, teaching.settings, told, objective, DISTORTION))


def _quantised(version: str, bench: Bench, full: Made, parent: Made, full_onnx: bytes) -> Made:
    """`parent` in 8 bits: the first form that keeps enough of the full version's accuracy, or else the best."""
    ready = preprocess(parent.onnx, Preprocess())
    forms = INT8_FORMS[:1] if bench.quick else INT8_FORMS
    enough = ENOUGH * min(_accuracy(one, bench) for one in (full_onnx, parent.onnx))
    onnx, arguments = _first_good(ready, forms, enough, bench)
    steps = (
        *parent.recipe.steps,
        Step(technique="preprocess", arguments=asdict(Preprocess())),
        Step(technique="int8_static", arguments=asdict(arguments)),
    )
    name = "int8-static" if parent.version == full.version else f"{parent.recipe.name}-int8-static"
    return Made(version, onnx, replace_recipe(parent.recipe, name, steps))


def replace_recipe(recipe: Recipe, name: str, steps: tuple[Step, ...]) -> Recipe:
    """The recipe under another name with these steps."""
    return recipe.model_copy(update={"name": name, "steps": steps})


def _first_good(ready: bytes, forms: Sequence[Int8Static], enough: float, bench: Bench) -> tuple[bytes, Int8Static]:
    best, best_accuracy = (b"", forms[0]), -1.0
    material = Material(bench.parts["calibration"].inputs)
    with bench.work.progress.task("quantising", len(forms)) as step:
        for form in forms:
            onnx = int8_static(ready, form, material)
            accuracy = _accuracy(onnx, bench)
            step(f"{form.calibrator}, {len(form.op_types)} types: accuracy {accuracy:.4f}, enough {enough:.4f}")
            if accuracy > best_accuracy:
                best, best_accuracy = (onnx, form), accuracy
            if accuracy >= enough:
                break
    return best


def _accuracy(onnx: bytes, bench: Bench) -> float:
    """On the development part."""
    development = bench.parts["development"]
    images = development.inputs[cifar10.INPUT]
    runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider="cpu", threads=1))
    parts = [runner.run({cifar10.INPUT: images[at : at + 32]})[OUTPUT] for at in range(0, len(images), 32)]
    runner.close()
    return score(np.concatenate(parts), development.labels).accuracy


def _exported(network: nn.Module) -> bytes:
    return export(network, torch.zeros(EXAMPLE_SHAPE), input_name=cifar10.INPUT, output_name=OUTPUT)


def _given(file: str, bench: Bench) -> bytes:
    return cifar10.find(bench.data, file).read_bytes()


def _taken(file: str, bench: Bench) -> tuple[Step, ...]:
    told = {"file": file, "sha256": _sha256(_given(file, bench)), "source": "akamaster/pytorch_resnet_cifar10"}
    return (Step(technique="take_weights", arguments=told),)


def _distorted_and_exported() -> tuple[Step, ...]:
    distorted = Step(technique="mirror_and_shift", arguments=asdict(DISTORTION))
    return (distorted, Step(technique="export", arguments={"opset": OPSET}))


def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


FAMILY = Family(
    name="cifar10",
    output=OUTPUT,
    data_name=cifar10.NAME,
    source=cifar10.SOURCE,
    licence=f"weights after akamaster/pytorch_resnet_cifar10, BSD-2-Clause; data {cifar10.LICENCE}",
    config=CONFIG,
    load=cifar10.load,
    full=make_full,
    variants=(
        Variant("1-int8", "weights and activations in 8 bits", make_int8),
        Variant("1-pruned", "half of the channels inside the blocks", make_pruned),
        Variant("1-pruned-int8", "pruned, and in 8 bits", make_pruned_int8),
        Variant("1-resnet20-distilled", "a third of the layers, taught by the full version", make_student),
        Variant("1-resnet20-int8", "the student in 8 bits", make_student_int8),
    ),
    not_verified=NOT_VERIFIED,
)
