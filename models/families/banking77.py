"""The family `banking77`: MiniLM, a sentence encoder of 22 million weights, with a linear head for 77 intents.

The encoder stays as it was published; the head learns from its embeddings, which are made once. Variants have fewer
bits, or half of the layers, taught by the whole. Choices were made on the development part.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.data import banking77
from models.data.samples import Samples, arrays_to_npz, read_arrays
from models.data.splits import Splits
from models.families.by_recipe import by_recipe
from models.families.encoders import EXPORT, NOT_VERIFIED, OUTPUT, config, exported, trained
from models.families.family import Bench, Family, Variant
from models.families.training import QUICK_ROWS, Run, examples, train
from models.made import Made
from models.train import minilm
from models.train.distil import cached_distillation
from models.train.evaluation import logits
from models.train.networks import reproducible
from models.train.reduce_layers import every_other, reduce_layers
from models.train.settings import TrainSettings
from models.train.transformer import TextClassifier, Trimmed
from service.repository.card import Recipe, Step

VERSION, HALF = "1", "1-layers"
EMBEDDING = "embedding"
EMBEDDED_ROWS = 256
HEAD = TrainSettings(epochs=60, batch_rows=64, learning_rate=2e-2, weight_decay=1e-3, label_smoothing=0.0, patience=10)
TEACHING = TrainSettings(epochs=2, batch_rows=64, learning_rate=3e-4, label_smoothing=0.0, patience=2)
TEMPERATURE, SHARE = 2.0, 0.8
LAYERS = 6


def load(folder: Path | None, cache: Path) -> Splits:
    """The parts, encoded for MiniLM.

    Raises:
        NoMiniLM: it is not there.
        BadData: the data is not there, or not in its form.
    """
    return banking77.load(folder, cache, (minilm.find(folder) / minilm.TOKENIZER).read_bytes())


def _full(bench: Bench) -> Made:
    encoder = Step(technique="build", arguments={"network": "TextClassifier", "encoder": "all-MiniLM-L6-v2"})
    head = Step(technique="train", arguments={"part": "head", "classes": banking77.CLASSES, **HEAD.arguments()})
    recipe = Recipe(name="banking77-minilm", seed=HEAD.seed, steps=(encoder, head, EXPORT))
    return Made(VERSION, exported(bench, _network(bench), banking77.LENGTH), recipe)


def _network(bench: Bench) -> TextClassifier:
    """MiniLM with its trained head."""
    folder = minilm.find(bench.data)
    depends_on = {"minilm": hashlib.sha256((folder / minilm.WEIGHTS).read_bytes()).hexdigest()}
    encoder = minilm.load(folder, positions=banking77.LENGTH)
    network = TextClassifier(encoder, banking77.CLASSES, unit=True)
    embedded = {name: _embedded(bench, name, network, depends_on) for name in ("training", "development")}
    reproducible(HEAD.seed)
    head = nn.Linear(encoder.shape.width, banking77.CLASSES)
    train(replace(bench, parts=embedded), head, Run("1-head", HEAD, depends_on))
    network.head = head
    network.eval()
    return network


def _embedded(bench: Bench, part: str, network: TextClassifier, depends_on: dict[str, str]) -> Samples:
    """A part's embeddings, float32 (n, width), as a stage: the encoder does not change, so they are made once."""
    samples = bench.parts[part]
    told = examples(samples, rows=QUICK_ROWS if bench.quick else None)
    labels = samples.labels[: len(told)]
    batches = torch.arange(len(told)).split(EMBEDDED_ROWS)

    @torch.no_grad()
    def make() -> bytes:
        embed = Trimmed(_Embedding(network)).eval()
        found = []
        with bench.work.progress.task(f"1-embedded-{part}", len(batches)) as step:
            for rows in batches:
                found.append(embed(*told.take(rows).inputs).numpy())
                step("")
        return arrays_to_npz({EMBEDDING: np.concatenate(found)})

    kept = bench.work.stage(f"1-embedded-{part}", {**depends_on, "part": part, "quick": bench.quick}, make)
    return Samples(read_arrays(kept), labels)


class _Embedding(nn.Module):
    def __init__(self, network: TextClassifier) -> None:
        super().__init__()
        self._network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self._network.embed(input_ids, attention_mask)


def _half() -> Variant:
    cut = Step(technique="reduce_layers", arguments={"kept": every_other(LAYERS)})
    distil = Step(
        technique="distil",
        arguments={"temperature": TEMPERATURE, "share": SHARE, "frozen": "token embeddings", **TEACHING.arguments()},
    )
    recipe = Recipe(name="banking77-layers", seed=TEACHING.seed, steps=(cut, distil, EXPORT))

    def make(bench: Bench, full: Made) -> Made:
        teacher = _network(bench)
        student = reduce_layers(teacher, every_other(len(teacher.encoder.layers)))
        # Half of all weights, of which a batch sees a few rows: left alone, training takes half of the time.
        student.encoder.tokens.weight.requires_grad_(False)
        rows = QUICK_ROWS if bench.quick else None
        told = logits(Trimmed(teacher), examples(bench.parts["training"], rows=rows))
        objective = cached_distillation(told, TEMPERATURE, SHARE)
        run = Run(HALF, TEACHING, {"cut": cut.arguments, "recipe": distil.arguments}, objective=objective)
        return Made(HALF, exported(bench, trained(bench, student, run), banking77.LENGTH), recipe)

    return Variant(HALF, "Half of the layers, taught by the full version.", make)


FAMILY = Family(
    name="banking77",
    output=OUTPUT,
    data_name=banking77.NAME,
    source=banking77.SOURCE,
    licence=f"Apache-2.0; all-MiniLM-L6-v2 Apache-2.0; data {banking77.LICENCE}",
    config=config("The intent of a bank customer's question", banking77.LENGTH, banking77.CLASSES),
    load=load,
    full=_full,
    variants=(
        by_recipe("1-int8-per-row", "int8-per-row", "Eight bits, scales of each token: requests can share a run."),
        by_recipe("1-int8-dynamic", "int8-dynamic", "Eight bits, scales of each run: requests cannot share a run."),
        by_recipe("1-int8-weights", "int8-weights", "Weights in blocks of 8 bits."),
        by_recipe("1-int4", "int4", "Weights in blocks of 4 bits."),
        _half(),
    ),
    not_verified=NOT_VERIFIED,
)
