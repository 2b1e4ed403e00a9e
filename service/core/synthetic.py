"""Rows made up from a version's input specs alone, for warm-up, probes and trials when it has no golden cases.

The same arguments give the same rows. Rows differ in scale by design: a version whose answer to one row depends
on its batch-mates (a per-tensor scale, a mean over the batch) shows it on them. Knows nothing of what runs them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.core.contract import Array, TensorSpec

ROW_SCALES = (1.0, 0.1, 20.0, 3.0, 0.5)


def synthetic_feed(
    specs: Sequence[TensorSpec], rows: int, *, batch_axis: str | None = None, free_size: int = 8, seed: int = 0
) -> dict[str, Array]:
    """Arrays that fit `specs`.

    Args:
        specs: the inputs.
        rows: size of every axis named `batch_axis`.
        batch_axis: the symbol that stands for the batch; None when there is none.
        free_size: size of every other variable axis.
        seed: of the generator.

    Returns:
        name -> array. Floats are normal, scaled by row when batched; integers are 0 or 1, so that they are legal
        indices and masks; BYTES elements are `b"0"`.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _array(generator, spec, _sizes(spec, rows, batch_axis, free_size), batch_axis) for spec in specs}


def _sizes(spec: TensorSpec, rows: int, batch_axis: str | None, free_size: int) -> tuple[int, ...]:
    def size(dim: int | str | None) -> int:
        if isinstance(dim, int):
            return dim
        return rows if dim is not None and dim == batch_axis else free_size

    return tuple(size(dim) for dim in spec.dims)


def _array(generator: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...], batch_axis: str | None) -> Array:
    if spec.datatype == "BYTES":
        array: Array = np.full(shape, b"0", dtype=np.object_)
        return array
    if not spec.datatype.startswith("FP"):
        return np.asarray(generator.integers(0, 2, size=shape)).astype(spec.dtype)
    values = np.asarray(generator.standard_normal(shape))
    if spec.dims and spec.dims[0] is not None and spec.dims[0] == batch_axis:
        scales = np.resize(np.asarray(ROW_SCALES), shape[0])
        values = values * scales.reshape(-1, *([1] * (len(shape) - 1)))
    return values.astype(spec.dtype)
