"""A published version as it is measured again: its card and its files, and its golden cases run on this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import cards
from models.data.samples import read_arrays
from models.evaluate import golden, measure
from service.core.contract import Array, Arrays
from service.core.errors import BadModel
from service.repository import deep_codec
from service.repository.card import Card
from service.runtime.runner import Runner


@dataclass(frozen=True, slots=True)
class Version:
    """A published version: its card, and name -> content of the files that the card lists."""

    card: Card
    files: Mapping[str, bytes]

    @property
    def onnx(self) -> bytes:
        """What the runtime loads, decoded where the version is published in the coded form.

        Raises:
            BadModel: neither form is there, or the coded one is damaged.
        """
        if cards.ONNX in self.files:
            return self.files[cards.ONNX]
        if cards.CODED not in self.files or self.card.size is None:
            raise BadModel(f"Version '{self.card.version}' has neither {cards.ONNX} nor {cards.CODED} with its size.")
        return deep_codec.decode(self.files[cards.CODED], limit_bytes=self.card.size.file_bytes)


@dataclass(frozen=True, slots=True)
class Case:
    """One golden output: what was recorded, and what this machine answers.

    Only floats can be near without being equal: texts and whole numbers that differ are endlessly far away, as the
    server holds them at every load.
    """

    name: str
    expected: Array
    answered: Array

    @property
    def fits(self) -> bool:
        """Whether shape and dtype are the recorded ones, and what is not finite is where it was recorded."""
        if (self.expected.shape, self.expected.dtype) != (self.answered.shape, self.answered.dtype):
            return False
        if not self.is_float:
            return True
        odd = ~(np.isfinite(self.expected) & np.isfinite(self.answered))
        return np.array_equal(self.expected[odd], self.answered[odd], equal_nan=True)

    @property
    def is_float(self) -> bool:
        """Whether it can be near without being equal."""
        return self.expected.dtype.kind == "f"

    @property
    def error(self) -> float:
        """Largest absolute difference."""
        return float(np.abs(self._difference()).max(initial=0)) if self.is_float else self._other()

    @property
    def relative_l2(self) -> float:
        """Norm of the difference / norm of what was recorded."""
        if not self.is_float:
            return self._other()
        norm = float(np.linalg.norm(_finite(self.expected)))
        return float(np.linalg.norm(self._difference()) / (norm or 1.0))

    @property
    def same_class(self) -> bool:
        """Whether every row has the same largest element; true of what has no row of classes."""
        if self.expected.ndim != 2 or not self.is_float:
            return True
        return bool(np.array_equal(self.answered.argmax(axis=1), self.expected.argmax(axis=1)))

    def _difference(self) -> Array:
        return _finite(self.answered) - _finite(self.expected)

    def _other(self) -> float:
        return 0.0 if np.array_equal(self.answered, self.expected) else math.inf


def golden_cases(version: Version, runner: Runner) -> list[Case]:
    """Runs the version's golden cases, each row alone where its requests are not mixed; empty without any."""
    if cards.GOLDEN not in version.files:
        return []
    arrays = read_arrays(version.files[cards.GOLDEN])
    inputs = {
        spec.name: arrays[f"input/{spec.name}"].astype(spec.dtype, copy=False)
        for spec in runner.inputs
        if f"input/{spec.name}" in arrays
    }
    expected = {name.removeprefix("output/"): one for name, one in arrays.items() if name.startswith("output/")}
    answered = _run(version, runner, inputs)
    return [
        Case(name, one, answered[name].astype("S") if one.dtype.kind == "S" else answered[name])
        for name, one in expected.items()
    ]


def golden_scale(cases: list[Case]) -> Array:
    """The largest recorded number of each output that is near or far rather than equal."""
    floats = [golden.largest(one.expected) for one in cases if one.expected.dtype.kind == "f"]
    return np.array(floats or [0.0], dtype=np.float64)


def tolerances(cases: list[Case]) -> tuple[float, float]:
    """The absolute tolerances that are given where cases are recorded: of a float graph, and of a quantised one."""
    scale = golden_scale(cases)
    return golden.tolerance(scale, golden.FLOAT_SHARE), golden.tolerance(scale, golden.QUANTISED_SHARE)


def _finite(array: Array) -> Array:
    return np.nan_to_num(array.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _run(version: Version, runner: Runner, inputs: Arrays) -> dict[str, Array]:
    batching = version.card.batching
    n = len(next(iter(inputs.values())))
    size = measure.rows_a_run(runner, inputs, runner.outputs[0].name)
    if size is None:
        size = n if batching is None or batching.mode == "any" else 1
    parts = [runner.run({name: one[at : at + size] for name, one in inputs.items()}) for at in range(0, n, size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
