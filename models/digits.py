"""Makes the shipped model `digits` anew: version `1`, a small convolutional network, and `1-int8`, quantised.

    python -m models.digits --publish DIR/digits

Two runs on one machine give the same files, timings aside. With `--checkpoint FILE` an interrupted run goes on where
it was. Choices were made on the development set; the ledger beside the data holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from models import cards
from models.compress.int8_static import Int8Static, int8_static
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material, arguments_of
from models.data import digits
from models.data.samples import Samples, arrays_to_npz
from models.evaluate import appraise, gate, golden, measure
from models.evaluate.ledger import Ledger
from models.publish import publish, publish_config
from models.train.augment import Distortion
from models.train.examples import Examples
from models.train.export import OPSET, export
from models.train.loop import Epoch, Trainer, TrainSettings
from models.train.networks import DigitsNet, reproducible
from service.core.cpu import cpu_class
from service.repository.card import Card, Data, Recipe, Split, Step

OUTPUT = "logits"
FULL, VARIANT = "1", "1-int8"
WIDTH = 32
GOLDEN_ROWS = 64
CONFIG = b"""\
# Handwritten digits: `image` float32 [n, 1, 8, 8] with values 0 to 16, `logits` float32 [n, 10].
max_batch_size: 32
labels: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
finite_outputs: true
"""
NOT_VERIFIED = (
    "Accuracy on images from another source than the data set's.",
    "Any provider but the CPU, and any class of CPU but those under quality.",
)
NO_LARGE_CLASS = f"Recall per class: no class of the test set has {gate.LEAST_CLASS_SAMPLES} samples."

Parts = dict[str, Samples]
Files = dict[str, bytes]
Made = tuple[Card, Files]


def train(
    parts: Parts, settings: TrainSettings, *, on_epoch: Callable[[Epoch], None], checkpoint: Path | None = None
) -> DigitsNet:
    """Trains the network of version `1` on the training part, stopping early on the development part."""
    reproducible(settings.seed)
    network = DigitsNet(WIDTH)
    trainer = Trainer(
        network,
        _tensors(parts["training"]),
        _tensors(parts["development"]),
        settings,
        augment=Distortion(),
        checkpoint=checkpoint,
    )
    trainer.run(on_epoch)
    return network


def to_onnx(network: DigitsNet) -> bytes:
    """Makes version `1` from the trained network."""
    return export(network, torch.zeros(2, 1, 8, 8), input_name=digits.INPUT, output_name=OUTPUT)


def compress(full: bytes, parts: Parts) -> bytes:
    """Makes version `1-int8` from version `1` and the calibration part."""
    return int8_static(preprocess(full, Preprocess()), Int8Static(), Material(parts["calibration"].inputs))


def recipes(settings: TrainSettings) -> tuple[Recipe, Recipe]:
    """How the full version and its variant are made, with every argument."""
    training = Recipe(
        name="digits-cnn",
        seed=settings.seed,
        steps=(
            Step(technique="train", arguments={"network": "DigitsNet", "width": WIDTH, **settings.arguments()}),
            Step(technique="distort", arguments=asdict(Distortion())),
            Step(technique="export", arguments={"opset": OPSET}),
        ),
    )
    quantisation = Recipe(
        name="int8-static",
        steps=(
            Step(technique="preprocess", arguments=arguments_of(Preprocess())),
            Step(technique="int8_static", arguments=arguments_of(Int8Static())),
        ),
    )
    return training, quantisation


def make_cards(full: bytes, variant: bytes, parts: Parts, settings: TrainSettings, runs: int) -> tuple[Made, Made]:
    """Measures both versions on the test part and gives each one's card and files."""
    trial = appraise.Trial(measure.Bench(cpu_class()), parts["test"], OUTPUT, runs)
    full_files, variant_files, tolerances = _with_golden(full, variant, parts["development"], trial.bench)
    training, quantisation = recipes(settings)
    of_full = appraise.appraise_full(full, trial)
    of_variant = appraise.appraise_variant(
        variant, trial, full_onnx=full, full=of_full.size, profile=gate.PROFILES["default"]
    )
    full_card = cards.card(_origin(FULL, training, parts), full_files, of_full, golden_max_abs=tolerances[0])
    variant_card = cards.card(
        _origin(VARIANT, quantisation, parts),
        variant_files,
        of_variant,
        golden_max_abs=tolerances[1],
        full=cards.Full(FULL, full),
    )
    return (full_card, full_files), (variant_card, variant_files)


def _with_golden(
    full: bytes, variant: bytes, rows_from: Samples, bench: measure.Bench
) -> tuple[Files, Files, list[float]]:
    """Both versions' files with golden cases for the same rows, and each one's absolute tolerance."""
    few = {name: array[:1] for name, array in rows_from.inputs.items()}
    runners = [measure.load(onnx, bench, few).runner for onnx in (full, variant)]
    logits = [measure.answers(runner, rows_from.inputs, OUTPUT).logits for runner in runners]
    for runner in runners:
        runner.close()
    shares = (golden.FLOAT_SHARE, golden.QUANTISED_SHARE)
    gap = 2 * sum(golden.tolerance(one, share) for one, share in zip(logits, shares, strict=True))
    rows = golden.telling_rows(logits[0], logits[1], GOLDEN_ROWS, gap=gap)
    tolerances = [golden.tolerance(one[rows], share) for one, share in zip(logits, shares, strict=True)]
    inputs = {f"input/{name}": array[rows] for name, array in rows_from.inputs.items()}
    files = [
        {cards.ONNX: onnx, cards.GOLDEN: arrays_to_npz({**inputs, f"output/{OUTPUT}": one[rows]})}
        for onnx, one in zip((full, variant), logits, strict=True)
    ]
    return files[0], files[1], tolerances


def _origin(version: str, recipe: Recipe, parts: Parts) -> cards.Origin:
    splits = {name: Split(n=len(samples), sha256=samples.sha256()) for name, samples in parts.items()}
    return cards.Origin(
        model=digits.NAME,
        version=version,
        recipe=recipe,
        data=Data(name=digits.NAME, source=digits.SOURCE, splits=splits),
        licence=f"Apache-2.0; data {digits.LICENCE}",
        not_verified=NOT_VERIFIED if version == FULL else (*NOT_VERIFIED, NO_LARGE_CLASS),
    )


def _tensors(samples: Samples) -> Examples:
    return Examples((torch.from_numpy(samples.inputs[digits.INPUT]),), torch.from_numpy(samples.labels))


def main(
    publish_to: Annotated[Path, typer.Option("--publish", help="Model folder to write versions 1 and 1-int8 into.")],
    ledger: Annotated[Path, typer.Option(help="File of selections.")] = Path(__file__).parent / "data" / "ledger.jsonl",
    checkpoint: Annotated[Path | None, typer.Option(help="Where to keep training between interruptions.")] = None,
    epochs: Annotated[int, typer.Option(help="Most epochs to train.")] = TrainSettings().epochs,
    runs: Annotated[int, typer.Option(help="Timed runs for each batch size.")] = 300,
) -> None:
    """Trains, quantises, measures and publishes the model `digits`."""
    for version in (FULL, VARIANT):
        if (publish_to / version).exists():
            raise typer.BadParameter(f"{publish_to} has a version {version}, and what is published is never changed.")
    console = Console(stderr=True)
    parts, settings = digits.parts(), TrainSettings(epochs=epochs)
    with Progress(*Progress.get_default_columns(), TextColumn("{task.fields[figures]}"), console=console) as progress:
        task = progress.add_task("training", total=epochs, figures="")

        def show(epoch: Epoch) -> None:
            figures = f"development loss {epoch.development_loss:.4f}, accuracy {epoch.development_accuracy:.4f}"
            progress.update(task, advance=1, figures=figures)

        full = to_onnx(train(parts, settings, on_epoch=show, checkpoint=checkpoint))
        progress.update(task, total=progress.tasks[task].completed)
    variant = compress(full, parts)
    for recipe in recipes(settings):
        Ledger(ledger).select(
            recipe, chosen_on_sha256=parts["development"].sha256(), test_sha256=parts["test"].sha256()
        )
    for card, files in make_cards(full, variant, parts, settings, runs):
        publish(publish_to, card.version, {**files, "card.json": card.to_json()})
        accuracy = card.quality[0].accuracy
        console.print(f"{card.model}/{card.version}: accuracy {accuracy:.4f}, verdict {card.verdict or 'none needed'}")
    publish_config(publish_to, CONFIG)


if __name__ == "__main__":
    typer.run(main)
