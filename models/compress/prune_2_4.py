"""Sets two of every four neighbouring weights along the input axis to zero: the pattern of NVIDIA's sparse cores.

Of each four the two of least magnitude go. A GPU's sparse kernels, where a build uses them, skip them; on a CPU only
storage is gained. Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks" (arXiv 2104.08378), section 3,
without its retraining.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from models.compress import graph as graphs
from models.compress.checks import NotApplied, same_signature
from models.compress.graph import Floats
from models.compress.technique import Material, Technique

_STEP = "prune_2_4"
_KEPT, _OF = 2, 4


@dataclass(frozen=True, slots=True)
class Prune24:
    """Arguments of `prune_2_4`; each goes into the card.

    Attributes:
        op_types: nodes whose weights are pruned, if their input axis has a multiple of four.
        exclude_nodes: names of nodes that stay as they are.
    """

    op_types: tuple[str, ...] = ("Conv", "Gemm", "MatMul")
    exclude_nodes: tuple[str, ...] = ()


def prune_2_4(model: bytes, arguments: Prune24, material: Material | None = None) -> bytes:
    """The model with the pattern in each weight whose input axis can hold it; no material is looked at.

    Raises:
        NotApplied: no weight can hold the pattern, two nodes want it along different axes of one weight, or it does
            not hold afterwards.
    """
    proto = graphs.read(model, _STEP)
    found = graphs.weighted(proto, arguments.op_types, _STEP, arguments.exclude_nodes, may_share=True)
    axes: dict[str, int] = {}
    for one in found:
        axis = input_axis(one.node)
        if one.weight.dims[axis] % _OF == 0 and axes.setdefault(one.weight.name, axis) != axis:
            raise NotApplied(f"{_STEP} cannot prune {one.weight.name!r}: nodes read it along different axes.")
    if not axes:
        raise NotApplied(f"{_STEP} finds no weight whose input axis has a multiple of {_OF}.")
    for tensor in proto.graph.initializer:
        if tensor.name in axes:
            graphs.replace(tensor, pruned(onnx.numpy_helper.to_array(tensor), axes[tensor.name]))
    result = graphs.write(proto)
    _assert_pattern(result, axes)
    same_signature(model, result, _STEP)
    return result


def input_axis(node: onnx.NodeProto) -> int:
    """The axis of a node's weight along which it sums: 1 of a convolution's (out, in, ...), 0 of a product's (K, N)."""
    turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 1 if node.op_type == "Conv" or turned else 0


def pruned(weight: Floats, axis: int) -> Floats:
    """The weight with the two smallest of each four along `axis` at zero; among equals the first go."""
    last = np.moveaxis(weight, axis, -1)
    fours = last.reshape(-1, _OF).copy()
    smallest = np.argsort(np.abs(fours), axis=1, kind="stable")[:, : _OF - _KEPT]
    np.put_along_axis(fours, smallest, 0, axis=1)
    return np.moveaxis(fours.reshape(last.shape), -1, axis)


def holds(weight: Floats, axis: int) -> bool:
    """Whether of each four along `axis` at most two are not zero."""
    fours = np.moveaxis(weight, axis, -1).reshape(-1, _OF)
    return bool((np.count_nonzero(fours, axis=1) <= _KEPT).all())


def _assert_pattern(after: bytes, axes: dict[str, int]) -> None:
    tensors = {tensor.name: tensor for tensor in onnx.load_from_string(after).graph.initializer}
    for name, axis in axes.items():
        if not holds(onnx.numpy_helper.to_array(tensors[name]), axis):
            raise NotApplied(f"{_STEP} left more than {_KEPT} of {_OF} weights in {name!r}.")


TECHNIQUE = Technique("prune_2_4", Prune24, prune_2_4)
