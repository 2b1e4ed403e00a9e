"""The rows that a version is tried with: its golden inputs, or made-up ones where it has none.

One concept for batchability probe, warm-up and the probe behind readiness, so that all ask the same of a version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from service.core.contract import Array, Arrays
from service.core.errors import RetortError, Unavailable
from service.core.synthetic import NUMERALS, ROW_SCALES, WORDS, synthetic_feed
from service.repository.golden import Golden
from service.serving.signature import Signature

Run = Callable[[Arrays], dict[str, Array]]

FREE_SIZES = (8, 1, 64, 224)
DISTINCT_ROWS = 5


@dataclass(frozen=True, slots=True)
class TrialRows:
    """A few distinct inputs of one version.

    Attributes:
        arrays: name -> array; the first axis is rows where the version is batched.
        rows: how many, None for a version without a batch axis.
        source: "golden" or "synthetic".
    """

    arrays: Arrays
    rows: int | None
    source: str

    def spread(self) -> TrialRows:
        """A few of the rows, made to differ in scale as made-up ones do, where they are numbers of a batch."""
        scales = np.asarray(ROW_SCALES)
        few = self.take(range(len(scales)))
        for name, array in few.items():
            if array.dtype.kind == "f":
                few[name] = (array * scales.reshape(-1, *([1] * (array.ndim - 1)))).astype(array.dtype)
        return TrialRows(few, len(scales), self.source)

    def take(self, indices: Sequence[int]) -> dict[str, Array]:
        """The rows at `indices`, modulo their number; the whole input for a version without a batch axis."""
        if self.rows is None:
            return dict(self.arrays)
        chosen = np.asarray(indices) % self.rows
        return {name: array[chosen] for name, array in self.arrays.items()}


def trial_rows(run: Run, signature: Signature, golden: Golden | None) -> TrialRows:
    """Finds inputs that the version answers.

    Raises:
        RetortError: what the last made-up input failed with, when none of them ran.
    """
    if golden is not None:
        return _golden_rows(golden, signature)
    specs = list(signature.inputs.values())
    failure: RetortError | None = None
    sizes = FREE_SIZES if any(map(signature.varies, specs)) else FREE_SIZES[:1]
    texts = (WORDS, NUMERALS) if any(spec.datatype == "BYTES" for spec in specs) else (WORDS,)
    for free_size, text in product(sizes, texts):
        rows = synthetic_feed(specs, DISTINCT_ROWS, batch_axis=signature.batch_axis, free_size=free_size, text=text)
        found = TrialRows(rows, None if signature.batch_axis is None else DISTINCT_ROWS, "synthetic")
        try:
            for index in range(DISTINCT_ROWS if len(texts) > 1 else 1):  # which texts are legal shows on each alone
                run(found.take([index]))
        except Unavailable:  # no other input would fare better
            raise
        except RetortError as error:
            failure = error
        else:
            return found
    assert failure is not None  # noqa: S101 - the loop ran at least once
    raise failure


def _golden_rows(golden: Golden, signature: Signature) -> TrialRows:
    return TrialRows(golden.inputs, None if signature.batch_axis is None else golden.rows, "golden")
