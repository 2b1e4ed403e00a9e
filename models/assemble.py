"""From a made version to a published one: the choice in the ledger, appraised, golden cases, card, all or nothing.

The same for every model, whether it was trained here or came as a file. Nothing looks at the test set before the
ledger has the choice. What is published is never changed: to publish the same full version again is to reuse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models import cards, cases
from models.data.samples import Samples
from models.data.splits import Splits
from models.evaluate import appraise, gate, measure
from models.evaluate.ledger import Ledger
from models.made import Made
from models.publish import AlreadyPublished, publish
from models.source import whole
from service.core.contract import Arrays
from service.repository.card import Card, Data, Size, Split
from service.repository.layout import Repository

RUNS = 300


@dataclass(frozen=True, slots=True)
class Sets:
    """The data of one model.

    Attributes:
        data: what cards say of it.
        test: decides, once for each recipe; None where there is none, and then nothing can pass.
        development: choices are made on it, and golden cases taken from it; None where there is none.
        calibration: inputs like those that the model will see; None where there are none.
    """

    data: Data
    test: Samples | None = None
    development: Samples | None = None
    calibration: Samples | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What all versions of one model have in common.

    Attributes:
        folder: `<repository>/<model>`; the model's name is the folder's.
        sets: the data.
        output: the graph's output that is judged.
        licence: of the versions and their data.
        ledger: the file of selections.
        bench: this machine.
        task: what the output is.
        profile: how strict the gate is.
        runs: timed runs a batch size.
        not_verified: what no card of this model claims.
    """

    folder: Path
    sets: Sets
    output: str
    licence: str
    ledger: Path
    bench: measure.Bench
    task: appraise.Task = "classification"
    profile: gate.Profile = gate.PROFILES["default"]
    runs: int = RUNS
    not_verified: tuple[str, ...] = ()

    @property
    def trial(self) -> appraise.Trial:
        """How its versions are measured."""
        sets = self.sets
        return appraise.Trial(
            bench=self.bench,
            test=sets.test,
            output=self.output,
            runs=self.runs,
            task=self.task,
            calibration=None if sets.calibration is None else sets.calibration.inputs,
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A version that lies in the repository.

    Attributes:
        card: its card.
        onnx: what the runtime loads.
        notes: plain sentences on what was found, for whoever waits.
        reused: whether it lay there already.
        sha256: of its model.onnx, where its weights lie in other files; "" elsewhere.
    """

    card: Card
    onnx: bytes
    notes: tuple[str, ...] = ()
    reused: bool = False
    sha256: str = ""


def sets(name: str, source: str, splits: Splits) -> Sets:
    """The sets of a family: parts training, development, calibration and test, those that there are."""
    parts = splits.parts
    described = describe_data(name, source, parts, splits.overlaps_removed)
    return Sets(described, parts.get("test"), parts.get("development"), parts.get("calibration"))


def describe_data(name: str, source: str, parts: Mapping[str, Samples], overlaps_removed: int) -> Data:
    """What a card says of the data."""
    splits = {part: Split(n=len(samples), sha256=samples.sha256()) for part, samples in parts.items()}
    return Data(name=name, source=source, splits=splits, overlaps_removed=overlaps_removed)


def publish_full(made: Made, setup: Setup) -> Published:
    """Appraises and publishes a full version, or reuses the one of these very bytes that is there.

    Raises:
        AlreadyPublished: the version is there with another model.
        AlreadyChosen: the test set has decided about this recipe with other arguments.
        BadLedger: what the test set has decided cannot be read.
        BadModel: what is there cannot be read.
    """
    there = _published(made, setup)
    if there is not None:
        return there
    if made.recipe.steps:
        select(made, setup)
    appraisal = appraise.appraise_full(made.onnx, setup.trial)
    try:
        return _publish(made, setup, appraisal)
    except AlreadyPublished:  # by another run, while this one measured
        there = _published(made, setup)
        if there is None:
            raise
        return there


def publish_variant(made: Made, setup: Setup, full: Published) -> Published:
    """Appraises, judges and publishes a variant, whatever the verdict: the card says it.

    Raises:
        AlreadyPublished: the version is there already.
        AlreadyChosen: the test set has decided about this recipe with other arguments.
    """
    refuse_published(setup.folder, made.version)
    select(made, setup)
    appraisal = appraise.appraise_variant(
        made.onnx,
        setup.trial,
        full_onnx=full.onnx,
        full=full.card.size or Size(file_bytes=len(full.onnx)),
        profile=setup.profile,
        coded_bytes=None if made.coded is None else len(made.coded),
    )
    return _publish(made, setup, appraisal, cards.Full(full.card.version, full.onnx, full.sha256))


def refuse_published(folder: Path, version: str) -> None:
    """Refuses a version that is there already, before anything is made of it.

    Raises:
        AlreadyPublished: it is there.
    """
    if (folder / version).exists():
        raise AlreadyPublished(
            f"{folder.name}/{version} is published already, and what is published is never changed; name another one."
        )


def select(made: Made, setup: Setup) -> None:
    """Records the choice before the test set is looked at; nothing where there is no test set.

    Raises:
        AlreadyChosen: the test set has decided about this recipe with other arguments.
    """
    sets = setup.sets
    if sets.test is None:
        return
    chosen_on = "" if sets.development is None else sets.development.sha256()
    setup.ledger.parent.mkdir(parents=True, exist_ok=True)
    Ledger(setup.ledger).select(made.recipe, chosen_on_sha256=chosen_on, test_sha256=sets.test.sha256())


def _published(made: Made, setup: Setup) -> Published | None:
    """The full version that is there, if its model is this one."""
    if not (setup.folder / made.version).exists():
        return None
    files = Repository(setup.folder.parent).read_version(setup.folder.name, made.version)
    if whole(files) != made.onnx:
        raise AlreadyPublished(
            f"{setup.folder.name}/{made.version} is published already, with another model; name another version."
        )
    if files.card is not None:
        return Published(files.card, made.onnx, reused=True, sha256=files.sha256 if files.external else "")
    appraisal = appraise.appraise_full(made.onnx, setup.trial)
    card = cards.card(_origin(made, setup), {cards.ONNX: made.onnx}, appraisal, golden_max_abs=None)
    return Published(card, made.onnx, reused=True, sha256=files.sha256 if files.external else "")


def _publish(made: Made, setup: Setup, appraisal: appraise.Appraisal, full: cards.Full | None = None) -> Published:
    recorded = _record(made, setup, appraisal, full)
    files = {cards.ONNX: made.onnx} if made.coded is None else {cards.CODED: made.coded}
    if recorded is not None:
        files[cards.GOLDEN] = recorded.npz
    card = cards.card(
        _origin(made, setup),
        files,
        appraisal,
        onnx=made.onnx,
        golden_max_abs=None if recorded is None else recorded.max_abs,
        golden_top1=recorded is not None and recorded.top1,
        full=full,
    )
    publish(setup.folder, made.version, {**files, "card.json": card.to_json()})
    return Published(card, made.onnx, appraisal.notes)


def _record(made: Made, setup: Setup, appraisal: appraise.Appraisal, full: cards.Full | None) -> cases.Cases | None:
    rows_from = _golden_rows(setup.sets)
    if rows_from is None:
        return None
    mixes = appraisal.batching is None or appraisal.batching.mode == "any"
    return cases.record(
        made.onnx,
        rows_from,
        setup.bench,
        mixes=mixes,
        classes=setup.task == "classification",
        full=None if full is None else full.onnx,
    )


def _golden_rows(sets: Sets) -> Samples | None:
    """Rows for golden cases: the development set, and the calibration set where that has too few."""
    parts: list[Arrays] = [one.inputs for one in (sets.development, sets.calibration) if one is not None and len(one)]
    if not parts:
        return None
    if len(next(iter(parts[0].values()))) >= cases.MOST_ROWS or len(parts) == 1:
        return Samples(parts[0])
    return cases.together(parts)


def _origin(made: Made, setup: Setup) -> cards.Origin:
    return cards.Origin(
        model=setup.folder.name,
        version=made.version,
        recipe=made.recipe,
        data=setup.sets.data,
        licence=setup.licence,
        not_verified=setup.not_verified,
        needs=made.needs,
    )
