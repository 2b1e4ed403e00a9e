"""The family `digits`, which is shipped: a small convolutional network for 8x8 digits, version `1`, and its variants.

Versions `1` and `1-int8` are published and stay as they are; the other variants learn from the file of `1`. Two runs
on one machine give the same files, timings aside. Choices were made on the development part.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from models.data import digits
from models.data.splits import Splits
from models.evaluate import gate
from models.families.build import EXPORT, Build, Student, deep, distilled, exported, pruned
from models.families.by_recipe import by_recipe
from models.families.deep import Deep
from models.families.family import NOT_ELSEWHERE, Bench, Family
from models.families.training import Run, train
from models.made import Made
from models.train.augment import Distortion
from models.train.networks import DigitsNet, reproducible
from models.train.prune_structured import PruneStructured
from models.train.settings import TrainSettings
from service.repository.card import Recipe, Step

OUTPUT = "logits"
FULL = "1"
WIDTH = 32
STUDENT_WIDTH = 12
CONFIG = b"""\
# Handwritten digits: `image` float32 [n, 1, 8, 8] with values 0 to 16, `logits` float32 [n, 10].
max_batch_size: 32
labels: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
finite_outputs: true
"""
NOT_VERIFIED = (
    "Accuracy on images from another source than the data set's.",
    NOT_ELSEWHERE,
    f"Recall per class: no class of the test set has {gate.LEAST_CLASS_SAMPLES} samples.",
)
SETTINGS = TrainSettings()
BUILD = Build("digits", (1, 8, 8), digits.INPUT, OUTPUT, lambda: DigitsNet(WIDTH, folded=True), Distortion())
TAUGHT = TrainSettings(epochs=80, weight_decay=1e-3, label_smoothing=0.0, patience=80)
STUDENT = Student(f"DigitsNet of width {STUDENT_WIDTH}", lambda: DigitsNet(STUDENT_WIDTH))
CUT = PruneStructured(ratio=0.35)
DEEP = Deep(
    layers=("features.0", "features.3", "features.7", "classifier.1", "classifier.4"),
    keep=((0.8, 0.4, 0.4, 0.2, 0.6), (0.7, 0.25, 0.25, 0.08, 0.5), (0.6, 0.18, 0.18, 0.04, 0.4)),
    epochs=(10, 15, 40),
    values=(31, 31, 31, 31, 31),
    sharing_epochs=10,
    batch_rows=32,
)


def load(_: Path | None, __: Path) -> Splits:
    """The parts that are kept with the code."""
    return Splits(digits.parts(), overlaps_removed=0)


def recipe(settings: TrainSettings = SETTINGS) -> Recipe:
    """How version `1` is made, with every argument."""
    learning = {"network": "DigitsNet", "width": WIDTH, **settings.arguments()}
    distortion = Step(technique="distort", arguments=asdict(Distortion()))
    steps = (Step(technique="train", arguments=learning), distortion, EXPORT)
    return Recipe(name="digits-cnn", seed=settings.seed, steps=steps)


def full(bench: Bench, settings: TrainSettings = SETTINGS) -> Made:
    """Trains the network of version `1` on the training part, stopping early on the development part."""
    reproducible(settings.seed)
    run = Run(FULL, settings, {"network": "DigitsNet", "width": WIDTH}, augment=Distortion())
    return Made(FULL, exported(bench, BUILD, train(bench, DigitsNet(WIDTH), run)), recipe(settings))


FAMILY = Family(
    name=digits.NAME,
    output=OUTPUT,
    data_name=digits.NAME,
    source=digits.SOURCE,
    licence=f"Apache-2.0; data {digits.LICENCE}",
    config=CONFIG,
    load=load,
    full=full,
    variants=(
        by_recipe("1-int8", "int8-static", "Weights and activations in 8 bits."),
        by_recipe("1-int4", "int4", "Weights of the linear layers in 4 bits."),
        by_recipe("1-fp16", "fp16", "All in half precision, inputs and outputs aside."),
        pruned(BUILD, "1-pruned", CUT, TAUGHT),
        distilled(BUILD, "1-distilled", STUDENT, TAUGHT),
        deep(BUILD, "1-deep", DEEP),
    ),
    not_verified=NOT_VERIFIED,
)
