"""A request without any description: the body is the one input's bytes, of one row, and every output goes out binary.

Source: Triton's binary tensor data extension, "Raw Binary Request". A BYTES input's body is the text itself, without
the length that a binary tensor has before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from service.core.contract import Array, InferRequest, TensorSpec
from service.core.errors import BadInput
from service.gateway import binary_tensors
from service.gateway.quote import listing, quote


def raw_request(body: bytes, specs: Mapping[str, TensorSpec]) -> InferRequest:
    """Reads a raw request.

    Args:
        body: all of it.
        specs: the version's inputs by name.

    Raises:
        BadInput: the version has more inputs than one, or the body's length fits no shape of it.
    """
    if len(specs) != 1:
        raise BadInput(f"a raw request holds one input, and this model has {listing(specs)}")
    (spec,) = specs.values()
    return InferRequest({spec.name: _text(body, spec) if spec.datatype == "BYTES" else _numbers(body, spec)})


def _text(body: bytes, spec: TensorSpec) -> Array:
    shape = [1 if size == -1 else size for size in spec.shape]
    if prod(shape) != 1:
        raise BadInput(f"a raw request holds one text, and input {quote(spec.name)} has shape {list(spec.shape)}")
    array = np.empty(1, dtype=np.object_)
    array[0] = body
    return array.reshape(shape)


def _numbers(body: bytes, spec: TensorSpec) -> Array:
    shape = list(spec.shape)
    if len(shape) > 1 and shape[0] == -1:
        shape[0] = 1
    open_axes = [axis for axis, size in enumerate(shape) if size == -1]
    if len(open_axes) > 1:
        raise BadInput(
            f"the size of a raw request does not tell the shape of input {quote(spec.name)}, "
            f"which has {len(open_axes)} variable axes"
        )
    if open_axes:
        others = prod(size for size in shape if size != -1) * spec.dtype.itemsize
        if others == 0 or len(body) % others:
            raise BadInput(f"a raw request of {len(body)} bytes fits no shape {list(spec.shape)} of {spec.datatype}")
        shape[open_axes[0]] = len(body) // others
    return binary_tensors.array_at(body, 0, len(body), shape, spec.datatype, spec.name)
