"""The model `cifar10`: ResNet-56 on photographs of ten kinds, its 8-bit, pruned and distilled variants.

The full version's weights are a given file's, fine-tuned on the images at hand; so are those of the small student.
Choices between forms of a variant are made on the development part. Needs torch and torch-pruning.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from models.compress.int8_static import Int8Static
from models.data import cifar10
from models.families.by_recipe import by_recipe
from models.families.eight_bits import Choice, eight_bits, first
from models.families.family import NOT_ELSEWHERE, Bench, Family, Variant
from models.families.training import Run, examples, train
from models.made import Made
from models.train.crop import MirrorAndShift
from models.train.distil import distillation
from models.train.examples import Examples
from models.train.export import OPSET, export, parity
from models.train.prune_structured import Plan, Pruned, PruneStructured, prune_channels, rebuild
from models.train.resnet import ResNet, difference, take_weights, trunk_layers
from models.train.settings import TrainSettings
from service.repository.card import Recipe, Step

OUTPUT = "logits"
EXAMPLE_SHAPE = (2, 3, 32, 32)
QUICK_ROWS, QUICK_BLOCKS = 64, 1
PARITY_ROWS, MOST_DIFFERENCE = 64, 1e-3
STOPPING_ROWS = 1000
"""Rows of the development part, the first by hash, on which training is watched."""

CONFIG = b"""\
# Photographs of ten kinds: `image` float32 [n, 3, 32, 32], RGB with values 0 to 255, `logits` float32 [n, 10].
max_batch_size: 32
labels: [airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck]
finite_outputs: true
"""
NOT_VERIFIED = (
    "Accuracy on images that were not stored as JPEG, or at another quality.",
    NOT_ELSEWHERE,
    "Choices on images that the given weights had not seen: the development part is cut from their training images.",
    "A test part that is new: earlier versions `1`, `1-int8` and `1-pruned`, trained for less, were measured on it.",
)
DISTORTION = MirrorAndShift()


@dataclass(frozen=True, slots=True)
class Teaching:
    """One network's training: how, on how many of the training rows, and after which teacher.

    Attributes:
        rows: of the training part, the first by hash; all of them would take hours on one core.
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
    epochs=1,
    batch_rows=128,
    learning_rate=0.02,
    weight_decay=1e-4,
    label_smoothing=0.0,
    optimizer="sgd",
    schedule="cosine",
)
FULL = Teaching(_SGD, rows=20_000)
PRUNED = Teaching(replace(_SGD, epochs=2, learning_rate=0.05), rows=16_000, temperature=4.0, share=0.9)
STUDENT = Teaching(replace(_SGD, epochs=2, learning_rate=0.05), rows=20_000, temperature=4.0, share=0.9)

# The early layers, which have few channels, count most: of a loss over all layers together they keep what they need.
PRUNING = PruneStructured(ratio=0.5, scope="global", importance="taylor", round_to=8)
IMPORTANCE_ROWS = 512

# Quantising what lies between the convolutions as well keeps the whole trunk in 8 bits; Mul and Sub, which scale the
# pixels, stay as they are. What follows is tried in turn when that costs too much.
_ALL = ("Conv", "Gemm", "MatMul", "Add", "AveragePool", "Slice", "Pad", "Relu")
INT8 = Choice(
    (
        Int8Static(op_types=_ALL),
        Int8Static(),
        Int8Static(op_types=_ALL, calibrator="Percentile"),
        Int8Static(calibrator="Entropy"),
    )
)


def make_full(bench: Bench) -> Made:
    """Version `1`: ResNet-56."""
    network = full_network(bench)
    steps = (*_taken("resnet56.onnx", bench), FULL.step(network="ResNet", blocks=9), *_distorted_and_exported())
    recipe = Recipe(name="cifar10-resnet56-longer", seed=FULL.settings.seed, steps=steps)
    return Made("1", _exported(bench, "full", network), recipe)


def full_network(bench: Bench) -> ResNet:
    """ResNet-56 with the given weights, fine-tuned; from its stage if that was finished."""
    return _fine_tuned(bench, 9, "resnet56.onnx", FULL, None)


def make_int8(bench: Bench, full: Made) -> Made:
    """Version `1-int8`."""
    return eight_bits("1-int8", bench, Made("1", full.onnx, Recipe(name="cifar10-resnet56-longer")), INT8, OUTPUT)


def make_pruned(bench: Bench, full: Made) -> Made:
    """Version `1-pruned`: the least important channels inside the blocks cut, fine-tuned after the full version."""
    teacher = full_network(bench)
    arguments = replace(PRUNING, ignored=trunk_layers(teacher))
    network = _pruned(bench, teacher, arguments)
    cutting = Step(technique="prune_structured", arguments={**asdict(arguments), "rows": IMPORTANCE_ROWS})
    steps = (cutting, PRUNED.step(), *_distorted_and_exported())
    recipe = Recipe(name="cifar10-pruned-taylor", seed=PRUNED.settings.seed, steps=steps)
    return Made("1-pruned", _exported(bench, "pruned", network), recipe)


def make_student(bench: Bench, full: Made) -> Made:
    """Version `1-resnet20-distilled`: ResNet-20 with given weights, taught by the full version."""
    network = _fine_tuned(bench, 3, "resnet20.onnx", STUDENT, full_network(bench))
    steps = (*_taken("resnet20.onnx", bench), STUDENT.step(network="ResNet", blocks=3), *_distorted_and_exported())
    recipe = Recipe(name="cifar10-resnet20-longer", seed=STUDENT.settings.seed, steps=steps)
    return Made("1-resnet20-distilled", _exported(bench, "student", network), recipe)


def make_pruned_int8(bench: Bench, full: Made) -> Made:
    """Version `1-pruned-int8`: the pruned one in 8 bits."""
    return eight_bits("1-pruned-int8", bench, make_pruned(bench, full), INT8, OUTPUT)


def make_student_int8(bench: Bench, full: Made) -> Made:
    """Version `1-resnet20-int8`: the student in 8 bits."""
    return eight_bits("1-resnet20-int8", bench, make_student(bench, full), INT8, OUTPUT)


def _fine_tuned(bench: Bench, blocks: int, file: str, teaching: Teaching, teacher: nn.Module | None) -> ResNet:
    network, given = ResNet(QUICK_BLOCKS if bench.quick else blocks), _given(file, bench)
    take_weights(network, given)
    images = bench.parts["calibration"].inputs[cifar10.INPUT][:PARITY_ROWS]
    apart = 0.0 if bench.quick else difference(network, given, images)
    if not apart <= MOST_DIFFERENCE:
        raise ValueError(f"The network with the weights of {file} answers otherwise than the file, by {apart:.2g}.")
    _teach(bench, file.removesuffix(".onnx"), network, teaching, teacher, {"given": _sha256(given)})
    return network


def _pruned(bench: Bench, teacher: ResNet, arguments: PruneStructured) -> nn.Module:
    """The pruned network, fine-tuned; its plan is a stage, so that an interrupted run goes on with the same one."""
    example = torch.zeros(EXAMPLE_SHAPE)
    depends_on = {"arguments": asdict(arguments), "rows": IMPORTANCE_ROWS, "full": _digest(teacher)}
    fresh: list[Pruned] = []

    def make() -> bytes:
        some = examples(bench.parts["training"], rows=QUICK_ROWS if bench.quick else IMPORTANCE_ROWS)
        fresh.append(prune_channels(teacher, example, arguments, some))
        return fresh[0].plan.to_json()

    plan = Plan.from_json(bench.work.stage("pruning", depends_on, make))
    network = fresh[0].network if fresh else rebuild(teacher, example, plan)
    _teach(bench, "pruned", network, PRUNED, teacher, depends_on)
    return network


def _teach(
    bench: Bench, name: str, network: nn.Module, teaching: Teaching, teacher: nn.Module | None, depends_on: Any
) -> None:
    """Trains in place, as a stage; with the channels last in memory, which convolutions on a CPU are faster on."""
    rows = QUICK_ROWS if bench.quick else teaching.rows
    parts = {
        **bench.parts,
        "training": first(bench.parts["training"], rows),
        "development": first(bench.parts["development"], STOPPING_ROWS),
    }
    told = {**depends_on, "teaching": asdict(teaching), "teacher": None if teacher is None else _digest(teacher)}
    objective = None if teacher is None else distillation(teacher, teaching.temperature, teaching.share)
    for one in (network, *(() if teacher is None else (teacher,))):
        one.to(memory_format=torch.channels_last)
    train(replace(bench, parts=parts), network, Run(name, teaching.settings, told, objective, DISTORTION))


def _exported(bench: Bench, name: str, network: nn.Module) -> bytes:
    """The network as a file that answers as it does, as a stage: a variant may be made of another variant."""
    some = torch.from_numpy(bench.parts["calibration"].inputs[cifar10.INPUT][:PARITY_ROWS])

    def make() -> bytes:
        onnx = export(network, torch.zeros(EXAMPLE_SHAPE), input_name=cifar10.INPUT, output_name=OUTPUT)
        parity(network, onnx, Examples((some,), torch.zeros(len(some))), tolerance=MOST_DIFFERENCE)
        return onnx

    return bench.work.stage(f"{name}-onnx", {"opset": OPSET, "network": _digest(network)}, make)


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
        Variant("1-int8", "Weights and activations in 8 bits.", make_int8, trained=False),
        Variant(
            "1-pruned",
            "Channels inside the blocks are cut out, about half of them, and the full version teaches what is left.",
            make_pruned,
        ),
        Variant("1-resnet20-distilled", "A third of the layers, taught by the full version.", make_student),
        Variant("1-resnet20-int8", "The student in 8 bits.", make_student_int8),
        Variant("1-pruned-int8", "Pruned, and in 8 bits.", make_pruned_int8),
        by_recipe("1-fp16", "fp16", "Weights in half precision."),
        by_recipe("1-deep", "deep", "Small weights cut, values shared, the file Huffman-coded; nothing fine-tuned."),
    ),
    not_verified=NOT_VERIFIED,
)
