"""What a version is like, found by running it before it answers anyone: batch, golden cases, cost, first answer.

Blocking; runs on the load's thread, on runners that nobody else has yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from service.batching.curve import CostCurve
from service.batching.padding import Pads
from service.core.contract import Array, Arrays, common_first_axis
from service.core.cpu import cpu_class
from service.core.errors import BadInput, BadModel, RetortError, RunFailed
from service.repository.model_config import ModelConfig
from service.repository.store import VersionFiles
from service.runtime.runner import Runner
from service.serving.batchability import Batchability, card_binds, probe, single, stricter
from service.serving.gate import Machine
from service.serving.golden import GoldenReport, hold, run_golden
from service.serving.nearness import near_array
from service.serving.padding import NO_PADDING, Padding, declare
from service.serving.padding_proof import prove
from service.serving.rows import TrialRows, trial_rows
from service.serving.signature import Signature
from service.serving.warmup import warm


@dataclass(frozen=True, slots=True)
class Examined:
    """What the examination found.

    Attributes:
        signature: inputs and outputs, with the batch axis if there is one.
        batchability: whether requests may be put together.
        curve: the cost of a run by its rows, from the warm-up.
        golden: how near the golden cases came; None without them.
        rows: the inputs that later probes send; None for a version that nothing made up runs on.
        expected: the answer to the first of them, without the outputs that a second run gave otherwise, and without
            any where a remote server may exchange its version.
        machine: provider and CPU class.
        golden_chunk_rows: rows of one run of golden cases, see `golden_chunk_rows`.
        padding: whether requests of different lengths may be put together.
        steady: whether the time of a run depends on its size alone: on the CPU, and no operator whose work depends on
            values.
        repeats: whether two runs of the same input gave the same answer.
    """

    signature: Signature
    batchability: Batchability
    curve: CostCurve
    golden: GoldenReport | None
    rows: TrialRows | None
    expected: Arrays
    machine: Machine
    golden_chunk_rows: int | None
    padding: Padding
    steady: bool
    repeats: bool


def golden_chunk_rows(signature: Signature, batchability: Batchability, max_rows: int) -> int | None:
    """Rows of one run of golden cases: None where they are one run, 1 where rows are not put together."""
    if signature.batch_axis is None:
        return None
    return max_rows if batchability.mixes else 1


def examine(files: VersionFiles, config: ModelConfig, runners: Sequence[Runner]) -> Examined:
    """Runs the version.

    Raises:
        Refused: the golden cases do not hold.
        BadModel: it does not run on its golden cases, or elsewhere on any made-up input, or its `pad` is wrong.
    """
    signature = signature_of(files, runners[0])
    try:
        rows = trial_rows(runners[0].run, signature, files.golden)
    except (BadInput, RunFailed) as error:
        if config.runner is not None:  # whether a server answers at all has to show somehow
            raise _does_not_run(files, "any made-up input, and it has no golden cases", error) from error
        return _untried(signature, config, runners[0], error)
    try:
        return _examine(files, config, runners, signature, rows)
    except (BadInput, RunFailed) as error:
        what = "its own golden cases" if files.golden is not None else "made-up input a second time"
        raise _does_not_run(files, what, error) from error


def _does_not_run(files: VersionFiles, what: str, error: RetortError) -> BadModel:
    return BadModel(f"version '{files.version}' of model '{files.model}' does not run on {what}: {error}")


def _untried(signature: Signature, config: ModelConfig, runner: Runner, error: RetortError) -> Examined:
    """What is known of a version that only particular inputs run on, and that has no golden cases to show some.

    Its inputs may be right all the same: a shape, a list of sizes, an index. So it is served, each request by itself.
    """
    batchability = single(f"nothing made up runs on it, and it has no golden cases: {error}")
    padding = NO_PADDING if declare(config.pad, signature) is None else Padding(None, batchability.reason)
    return Examined(
        signature=signature,
        batchability=batchability,
        curve=CostCurve(config.max_batch_size),
        golden=None,
        rows=None,
        expected={},
        machine=Machine(runner.provider, cpu_class()),
        golden_chunk_rows=None,
        padding=padding,
        steady=False,
        repeats=False,
    )


def _examine(
    files: VersionFiles, config: ModelConfig, runners: Sequence[Runner], signature: Signature, rows: TrialRows
) -> Examined:
    runner = runners[0]
    declared = declare(config.pad, signature)
    batchability = _batchability(files, config, runner, signature, rows)
    padding = _padding(declared, batchability, runner, rows, quantised=_quantised(files, runner))
    machine = Machine(runner.provider, cpu_class())
    golden = None
    chunk_rows = golden_chunk_rows(signature, batchability, config.max_batch_size)
    if files.golden is not None:
        answered = run_golden(runner.run, files.golden, chunk_rows)
        golden = hold(files.golden, answered, files.card, machine)
    curve = CostCurve(config.max_batch_size)
    for size, seconds in warm(runner.run, rows, config.max_batch_size if batchability.mixes and config.warmup else 1):
        curve.observe(size, seconds)
    for other in runners[1:]:
        other.run(rows.take(range(config.max_batch_size if batchability.mixes else 1)))
    expected, repeats = _repeated(runner, rows.take([0])) if _answers_last(config) else ({}, False)
    steady = files.steady and machine.provider == "cpu"
    return Examined(
        signature=signature,
        batchability=batchability,
        curve=curve,
        golden=golden,
        rows=rows,
        expected=expected,
        machine=machine,
        golden_chunk_rows=chunk_rows,
        padding=padding,
        steady=steady,
        repeats=repeats,
    )


def signature_of(files: VersionFiles, runner: Runner) -> Signature:
    """The signature of a version, with the batch axis that its first axes name."""
    axis = common_first_axis([*runner.inputs, *runner.outputs])
    return Signature(
        f"model '{files.model}'",
        {spec.name: spec for spec in runner.inputs},
        {spec.name: spec for spec in runner.outputs},
        axis,
    )


def _answers_last(config: ModelConfig) -> bool:
    """Whether the version computes alike for as long as it is loaded: a remote's may be exchanged under our feet."""
    return config.runner is None or config.runner.triton.version is not None


def _repeated(runner: Runner, row: Arrays) -> tuple[dict[str, Array], bool]:
    """What `runner` answers to `row` again and again; an output drawn at random says nothing about its health.

    And whether it answered the same twice, values that are no floats included.

    Copies, because an output of ONNX Runtime is a view that keeps its session's whole arena alive.
    """
    first, second = runner.run(row), runner.run(row)
    expected = {name: array.copy() for name, array in first.items() if near_array(array, second[name])}
    equal = all(array.dtype.kind == "f" or np.array_equal(array, second[name]) for name, array in first.items())
    return expected, equal and len(expected) == len(first)


def _batchability(
    files: VersionFiles, config: ModelConfig, runner: Runner, signature: Signature, rows: TrialRows
) -> Batchability:
    if signature.batch_axis is None:
        return single("its inputs and outputs do not all begin with one and the same variable axis")
    most = max(2, config.max_batch_size)  # even where one row runs at a time: larger requests are split into rows
    quantised = _quantised(files, runner)
    found = probe(runner.run, rows, most, quantised=quantised)
    if found.mixes and rows.source == "golden":  # recorded rows may be too alike to show a scale that they share
        with suppress(BadInput, RunFailed):  # they need not be legal; what ended for another reason says nothing
            found = stricter(found, probe(runner.run, rows.spread(), most, quantised=quantised))
    return card_binds(files.card, found)


def _padding(
    declared: Pads | None, batchability: Batchability, runner: Runner, rows: TrialRows, *, quantised: bool
) -> Padding:
    if declared is None:
        return NO_PADDING
    if not batchability.mixes:
        return Padding(None, batchability.reason)
    return prove(runner.run, declared, rows, quantised=quantised)


def _quantised(files: VersionFiles, runner: Runner) -> bool:
    return files.quantised or any(spec.datatype == "FP16" for spec in runner.outputs)
