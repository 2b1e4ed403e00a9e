"""What a user of `retort compress` asked for, read and checked: model, data, names; refused before anything is made.

Every refusal is one sentence that says what is wrong and what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import assemble, source
from models.bounded import RUN_TIMEOUT_S, BoundedRunner
from models.data import npz_files, roles
from models.data.npz_files import BadData
from models.data.samples import Samples
from models.evaluate import appraise, gate, measure
from models.recipes.plan import Plan
from service.core.contract import TensorSpec
from service.core.cpu import cpu_class
from service.core.errors import RetortError
from service.repository.names import is_name
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

FULL_VERSION = "1"
NOT_VERIFIED = (
    "Any provider but those under quality, and any class of CPU but theirs.",
    "Whether the rows that were given are like those that the model will see.",
)


@dataclass(frozen=True, slots=True)
class Files:
    """The user's .npz files; each may be missing."""

    calibration: Path | None = None
    development: Path | None = None
    test: Path | None = None

    @property
    def given(self) -> list[Path]:
        """Those that there are."""
        return [path for path in (self.calibration, self.development, self.test) if path is not None]


@dataclass(frozen=True, slots=True)
class How:
    """How versions are judged and measured.

    Attributes:
        task: what the judged output is; None to see it from the test file.
        output: its name; None for the only one.
        profile: how strict the gate is.
        until_pass: whether the recipe's ladder is climbed when the gate says no on the development set.
        runs: timed runs a batch size.
        threads: of the runtime.
        licence: of the model, as the card says it.
        ledger: the file of selections; None for the one beside the model's folder.
        run_timeout_s: a run that takes longer is stopped, and with it what it was for.
    """

    task: appraise.Task | None = None
    output: str | None = None
    profile: gate.ProfileName = "default"
    until_pass: bool = False
    runs: int = assemble.RUNS
    threads: int = 1
    licence: str = "not stated"
    ledger: Path | None = None
    run_timeout_s: float = RUN_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Wanted:
    """One variant that is asked for: its recipe, and its id."""

    plan: Plan
    version: str


@dataclass(frozen=True, slots=True)
class Job:
    """An order that was found to be possible."""

    onnx: bytes
    full_version: str
    setup: assemble.Setup
    wanted: tuple[Wanted, ...]
    until_pass: bool


class BadOrder(ValueError):
    """What was asked for does not go together; one sentence."""


def prepare(
    model: Path,
    publish: Path,
    files: Files,
    how: How,
    wanted: Sequence[Plan],
    names: Sequence[str],
    version: str | None,
) -> Job:
    """Reads and checks everything that was given.

    Args:
        model: an ONNX file, or `REPOSITORY/MODEL/VERSION`.
        publish: `REPOSITORY/MODEL`.
        files: the data.
        how: how it is judged.
        wanted: the recipes.
        names: ids for the variants in their order; those that are missing become `<full version>-<recipe>`.
        version: the id of the full version; None for the one it has, or 1.

    Raises:
        BadSource, BadData, BadOrder, AlreadyPublished: what is wrong, in one sentence.
    """
    if files.calibration is None and files.test is None:
        raise BadOrder("There are no samples to measure on: give --calibration, and --test for a verdict.")
    read = source.read(model)
    folder = source.model_folder(publish)
    full_version = version or read.version or FULL_VERSION
    rows = read.fixed_rows
    variants = _name([plan if rows is None else plan.fitted(rows) for plan in wanted], names, full_version)
    for one in variants:
        assemble.refuse_published(folder, one.version)
    setup = _setup(folder, read, files, how)
    return Job(read.onnx, full_version, setup, variants, how.until_pass)


def _setup(folder: Path, read: source.Source, files: Files, how: How) -> assemble.Setup:
    sets, task, output = read_data(read, files, how)
    if how.until_pass and sets.development is None:
        raise BadOrder("--until-pass chooses on development rows: give --test, of which a part is used, or --dev.")
    return assemble.Setup(
        folder=folder,
        sets=sets,
        output=output,
        licence=how.licence,
        ledger=how.ledger or default_ledger(folder),
        bench=bench(how),
        task=task,
        profile=gate.PROFILES[how.profile],
        runs=how.runs,
        not_verified=_not_verified(sets),
    )


def bench(how: How) -> measure.Bench:
    """This machine, as it is asked for."""
    return measure.Bench(cpu_class(), threads=how.threads, run_timeout_s=how.run_timeout_s)


def default_ledger(folder: Path) -> Path:
    """The ledger of a model: beside its folder, hidden, so that no gateway takes it for a model."""
    return folder.parent / f".{folder.name}.ledger.jsonl"


def _name(wanted: Sequence[Plan], names: Sequence[str], full_version: str) -> tuple[Wanted, ...]:
    if len(names) > len(wanted):
        raise BadOrder(f"{len(names)} names are given with --as for {len(wanted)} recipes.")
    rest = [f"{full_version}-{plan.name}" for plan in wanted[len(names) :]]
    variants = tuple(Wanted(plan, name) for plan, name in zip(wanted, [*names, *rest], strict=True))
    ids = [full_version, *(one.version for one in variants)]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise BadOrder(f"Two versions would be called {twice!r}: give each its own name with --as.")
    for one in ids:
        _check_name(one)
    return variants


def _check_name(version: str) -> None:
    if not is_name(version):
        raise BadOrder(f"{version!r} cannot be a version: an id is letters, digits, '_', '.' and '-'.")


def read_data(read: source.Source, files: Files, how: How) -> tuple[assemble.Sets, appraise.Task, str]:
    """The sets in the user's files, the task, and the name of the judged output.

    Raises:
        BadSource, BadData, BadOrder: what is wrong, in one sentence.
    """
    calibration, development, test = (
        None if path is None else npz_files.read_samples(path, read.inputs, answers=path != files.calibration)
        for path in (files.calibration, files.development, files.test)
    )
    output = source.judged_output(read, how.output)
    task = _task(how.task, test, development, files)
    development, test = (
        _answered(path, one, task, read, output, how.run_timeout_s)
        for path, one in ((files.development, development), (files.test, test))
    )
    given = roles.assign(calibration, development, test)
    calibration = _whole_runs(given.calibration, read.fixed_rows)
    parts = {"calibration": calibration, "development": given.development, "test": given.test}
    for name, part in parts.items():
        if part is not None and not len(part):
            raise BadOrder(f"No {name} rows are left, once what other sets hold is taken out: give more distinct rows.")
    there = {name: part for name, part in parts.items() if part is not None}
    source_text = f"files {', '.join(path.name for path in files.given)}" if files.given else ""
    if files.test is not None and files.development is None:
        source_text += f"; {roles.DEVELOPMENT_SHARE:.0%} of the test file, by hash, are the development set"
    name = files.given[-1].stem if files.given else "none"
    data = assemble.describe_data(name, source_text, there, given.overlaps_removed)
    return assemble.Sets(data, given.test, given.development, calibration), task, output.name


def _whole_runs(samples: Samples | None, rows: int | None) -> Samples | None:
    """As many samples as fill whole runs of a model that takes `rows` at a time."""
    return samples if samples is None or rows is None else samples.take(range(len(samples) - len(samples) % rows))


def read_test(
    read: source.Source,
    path: Path,
    task: appraise.Task | None,
    output: str | None,
    run_timeout_s: float = RUN_TIMEOUT_S,
) -> tuple[Samples, appraise.Task, str]:
    """The whole test file, the task, and the name of the judged output.

    Raises:
        BadSource, BadData, BadOrder: what is wrong, in one sentence.
    """
    samples = npz_files.read_samples(path, read.inputs, answers=True)
    judged = source.judged_output(read, output)
    task = _task(task, samples, None, Files(test=path))
    return _answered(path, samples, task, read, judged, run_timeout_s) or samples, task, judged.name


def _task(
    asked: appraise.Task | None, test: Samples | None, development: Samples | None, files: Files
) -> appraise.Task:
    told = test if test is not None else development
    if asked is not None or told is None:
        return asked or "classification"
    if told.labelled:
        return "classification"
    if told.targets is not None:
        return "regression"
    path = files.test or files.development
    raise BadOrder(f"{path} has neither labels nor targets; add one of them, or say --task embedding.")


def _answered(
    path: Path | None,
    samples: Samples | None,
    task: appraise.Task,
    read: source.Source,
    output: TensorSpec,
    run_timeout_s: float,
) -> Samples | None:
    """The samples, their labels or targets held against what the model answers to the first of them."""
    if path is None or samples is None:
        return None
    wanted = {"classification": "labels", "regression": "targets"}.get(task)
    if (wanted == "labels" and not samples.labelled) or (wanted == "targets" and samples.targets is None):
        raise BadData(f"{path} has no array {wanted!r}, which --task {task} wants.")
    shape = _answer_shape(path, samples, read, output, run_timeout_s)
    if task == "classification":
        if not shape or shape[-1] < 2:
            raise BadOrder(f"Output {output.name!r} gives {shape[-1] if shape else 1} number a row, and no classes.")
        npz_files.check_labels(path, samples, shape[-1])
    return npz_files.check_targets(path, samples, shape) if task == "regression" else samples


def _answer_shape(
    path: Path, samples: Samples, read: source.Source, output: TensorSpec, run_timeout_s: float
) -> tuple[int, ...]:
    rows = read.fixed_rows or 1
    runner = BoundedRunner(OnnxRunner.load(read.onnx, {}, RunnerOptions(provider="cpu", threads=1)), run_timeout_s)
    try:
        answer = runner.run({name: array[np.arange(rows) % len(array)] for name, array in samples.inputs.items()})
    except RetortError as error:
        raise BadData(f"{path}: the model does not run on its first row: {str(error).rstrip('.')}.") from error
    finally:
        runner.close()
    return tuple(answer[output.name].shape[1:])


def _not_verified(sets: assemble.Sets) -> tuple[str, ...]:
    if sets.test is not None:
        return NOT_VERIFIED
    return (*NOT_VERIFIED, "Quality: there was no test set. Agreement was taken on the calibration rows.")
