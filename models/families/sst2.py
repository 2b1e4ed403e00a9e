"""The family `sst2`: a small transformer that is trained here from nothing, and what compression leaves of it.

Half of its layers, taught by the whole; half of its attention heads; fewer bits. Choices were made on the development
part. The test part has 872 rows, too few to tell a loss of one point with certainty: the gate then says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from models.data import sst2
from models.families.by_recipe import by_recipe
from models.families.encoders import EXPORT, NOT_VERIFIED, OUTPUT, config, exported, trained
from models.families.family import Bench, Family, Variant
from models.families.training import QUICK_ROWS, Run, examples
from models.made import Made
from models.train.distil import cached_distillation
from models.train.evaluation import logits
from models.train.networks import reproducible
from models.train.prune_heads import importance, least_important, prune_heads
from models.train.reduce_layers import every_other, reduce_layers
from models.train.settings import TrainSettings
from models.train.transformer import Shape, TextClassifier, Trimmed
from service.repository.card import Recipe, Step

VERSION = "1"
SHAPE = Shape(sst2.VOCABULARY, width=128, heads=4, inner=512, layers=4, positions=sst2.LENGTH, dropout=0.2)
QUICK_SHAPE = Shape(sst2.VOCABULARY, width=16, heads=2, inner=32, layers=2, positions=sst2.LENGTH)
LEARNING = TrainSettings(epochs=3, batch_rows=128, learning_rate=1e-3, label_smoothing=0.0, patience=3)
TEACHING = TrainSettings(epochs=2, batch_rows=128, learning_rate=5e-4, label_smoothing=0.0, patience=2)
TUNING = TrainSettings(epochs=1, batch_rows=128, learning_rate=2e-4, label_smoothing=0.0, patience=1)
TEMPERATURE, SHARE = 2.0, 0.8
HEADS_SHARE = 0.5
IMPORTANCE_ROWS = 1024


def _full(bench: Bench) -> Made:
    recipe = Recipe(
        name="sst2-transformer",
        seed=LEARNING.seed,
        steps=(
            Step(technique="build", arguments={"network": "TextClassifier", "classes": sst2.CLASSES, **asdict(SHAPE)}),
            Step(technique="train", arguments=LEARNING.arguments()),
            EXPORT,
        ),
    )
    return Made(VERSION, exported(bench, _network(bench), sst2.LENGTH), recipe)


def _network(bench: Bench) -> TextClassifier:
    """The full version's network, trained, or read back from its stage."""
    shape = QUICK_SHAPE if bench.quick else SHAPE
    reproducible(LEARNING.seed)
    return trained(bench, TextClassifier(shape, sst2.CLASSES), Run("1-full", LEARNING, {"network": asdict(shape)}))


def _taught(
    version: str,
    summary: str,
    cut: Step,
    settings: TrainSettings,
    student_of: Callable[[Bench, TextClassifier], TextClassifier],
) -> Variant:
    """A variant that starts as the full version with something cut out, and is then taught by it."""
    distil = Step(technique="distil", arguments={"temperature": TEMPERATURE, "share": SHARE, **settings.arguments()})
    recipe = Recipe(name=f"sst2-{version}", seed=settings.seed, steps=(cut, distil, EXPORT))

    def make(bench: Bench, full: Made) -> Made:
        teacher = _network(bench)
        student = student_of(bench, teacher)
        rows = QUICK_ROWS if bench.quick else None
        told = logits(Trimmed(teacher), examples(bench.parts["training"], rows=rows))
        run = Run(version, settings, {"cut": cut.arguments}, objective=cached_distillation(told, TEMPERATURE, SHARE))
        return Made(version, exported(bench, trained(bench, student, run), sst2.LENGTH), recipe)

    return Variant(version, summary, make)


def _half(bench: Bench, teacher: TextClassifier) -> TextClassifier:
    return reduce_layers(teacher, every_other(len(teacher.encoder.layers)))


def _fewer_heads(bench: Bench, teacher: TextClassifier) -> TextClassifier:
    some = examples(bench.parts["training"], rows=IMPORTANCE_ROWS)
    return prune_heads(teacher, least_important(importance(teacher, some), HEADS_SHARE))


FAMILY = Family(
    name="sst2",
    output=OUTPUT,
    data_name=sst2.NAME,
    source=sst2.SOURCE,
    licence=f"Apache-2.0; data {sst2.LICENCE}",
    config=config("Sentiment of a phrase, 0 negative and 1 positive", sst2.LENGTH, sst2.CLASSES),
    load=sst2.load,
    full=_full,
    variants=(
        _taught(
            "1-layers",
            "Half of the layers, taught by the full version.",
            Step(technique="reduce_layers", arguments={"kept": every_other(SHAPE.layers)}),
            TEACHING,
            _half,
        ),
        _taught(
            "1-heads",
            "Half of the attention heads, the least important ones gone; taught by the full version.",
            Step(technique="prune_heads", arguments={"share": HEADS_SHARE, "rows": IMPORTANCE_ROWS}),
            TUNING,
            _fewer_heads,
        ),
        by_recipe("1-int8-per-row", "int8-per-row", "Eight bits, scales of each token: requests can share a run."),
        by_recipe("1-int8-weights", "int8-weights", "Weights in blocks of 8 bits."),
    ),
    not_verified=NOT_VERIFIED,
)
