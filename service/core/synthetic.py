"""Rows made up from a version's input specs alone, for warm-up, probes and trials when it has no golden cases.

The same arguments give the same rows. Rows differ in scale by design: a version whose answer to one row depends
on its batch-mates (a per-tensor scale, a mean over the batch) shows it on them. Knows nothing of what runs them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.core.contract import Array, TensorSpec

ROW_SCALES = (1.0, 0.1, 20.0, 3.0, 0.5)
# Texts by row: of other lengths, values and numbers of words; the numerals for versions that read numbers out of them.
WORDS = (b"0", b"one two", b"12", b"a much longer text", b"x y z")
NUMERALS = (b"0", b"1", b"12", b"345678", b"9")


def synthetic_feed(
    specs: Sequence[TensorSpec],
    rows: int,
    *,
    batch_axis: str | None = None,
    free_size: int = 8,
    seed: int = 0,
    text: Sequence[bytes] = NUMERALS,
) -> dict[str, Array]:
    """Arrays that fit `specs`.

    Args:
        specs: the inputs.
        rows: size of every axis named `batch_axis`.
        batch_axis: the symbol that stands for the batch; None when there is none.
        free_size: size of every other variable axis.
        seed: of the generator.
        text: BYTES elements of each row in turn; the first of them everywhere when not batched.

    Returns:
        name -> array. Floats are normal, scaled by row when batched; integers are 0 or 1, so that they are legal
        indices and masks.
    """
    generator = np.random.default_rng(seed)
    shapes = {spec.name: _sizes(spec, rows, batch_axis, free_size) for spec in specs}
    return {spec.name: _array(generator, spec, shapes[spec.name], batch_axis, text) for spec in specs}


def _sizes(spec: TensorSpec, rows: int, batch_axis: str | None, free_size: int) -> tuple[int, ...]:
    def size(dim: int | str | None) -> int:
        if isinstance(dim, int):
            return dim
        return rows if dim is not None and dim == batch_axis else free_size

    return tuple(size(dim) for dim in spec.dims)


def _array(
    generator: np.random.Generator,
    spec: TensorSpec,
    shape: tuple[int, ...],
    batch_axis: str | None,
    text: Sequence[bytes],
) -> Array:
    batched = bool(spec.dims) and spec.dims[0] is not None and spec.dims[0] == batch_axis
    if spec.datatype == "BYTES":
        array: Array = np.full(shape, text[0], dtype=np.object_)
        for row in range(len(array) if batched else 0):
            array[row] = text[row % len(text)]
        return array
    if not spec.datatype.startswith("FP"):
        return np.asarray(generator.integers(0, 2, size=shape)).astype(spec.dtype)
    values = np.asarray(generator.standard_normal(shape))
    if batched:
        scales = np.resize(np.asarray(ROW_SCALES), shape[0])
        values = values * scales.reshape(-1, *([1] * (len(shape) - 1)))
    return values.astype(spec.dtype)
