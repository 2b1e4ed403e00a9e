"""A family that is made in a moment: an untrained network with the answers that it gives as labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.compress.checks import NotApplied
from models.data.samples import Samples
from models.data.splits import Splits
from models.evaluate import measure
from models.families.by_recipe import by_recipe
from models.families.family import Bench, Family, Variant
from models.made import Made
from service.repository.card import Recipe, Step
from tests.unit.models.compress.networks import convolutional

ROWS = {"training": 50, "development": 100, "calibration": 40, "test": 200}


def load(_: Path | None, __: Path) -> Splits:
    images = np.random.default_rng(7).random((sum(ROWS.values()), 1, 8, 8), dtype=np.float32)
    runner = measure.load(convolutional(), measure.Bench("a-cpu"), {"image": images[:1]}).runner
    labels = measure.answers(runner, {"image": images}, "logits").logits.argmax(axis=1)
    runner.close()
    parts, at = {}, 0
    for name, count in ROWS.items():
        parts[name] = Samples({"image": images[at : at + count]}, labels[at : at + count])
        at += count
    return Splits(parts, overlaps_removed=3)


def full(bench: Bench) -> Made:
    made = bench.work.stage("full", {}, convolutional)
    return Made("1", made, Recipe(name="small", seed=0, steps=(Step(technique="train", arguments={"epochs": 0}),)))


def refused(_: Bench, __: Made) -> Made:
    raise NotApplied("nothing could be cut.")


def copied(_: Bench, made: Made) -> Made:
    return Made("1-copy", made.onnx, Recipe(name="copy", steps=(Step(technique="copy", arguments={}),)))


def spoiled(_: Bench, __: Made) -> Made:
    raise AssertionError("made although it was not asked for")


INT8 = by_recipe("1-int8", "int8-static", "In 8 bits.")
REFUSED = Variant("1-refused", "Cannot be made.", refused)
COPIED = Variant("1-copy", "Worth nothing.", copied)
SPOILED = Variant("1-spoiled", "Must not be asked for.", spoiled)


def family(*variants: Variant) -> Family:
    return Family(
        name="small",
        output="logits",
        data_name="noise",
        source="made here",
        licence="Apache-2.0",
        config=b"max_batch_size: 8\n",
        load=load,
        full=full,
        variants=variants,
        not_verified=("Anything.",),
    )
