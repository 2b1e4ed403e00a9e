"""Sets the smallest weights to zero, each for itself (unstructured); the rest are left as they are.

The file gets smaller only once it is coded, and ONNX Runtime gets no faster: what zeros gain here is storage.
Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks" (arXiv 1506.02626), without
its retraining, for which the mask has to be held.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from models.compress import graph as graphs
from models.compress.checks import NotApplied, same_signature
from models.compress.graph import Floats
from models.compress.technique import Material, Technique

_STEP = "prune_magnitude"
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PruneMagnitude:
    """Arguments of `prune_magnitude`; each goes into the card.

    Attributes:
        sparsity: share of the weights that are zero afterwards, over 0 and below 1.
        scope: "layer": the share holds in each weight; "global": over all, by one threshold.
        op_types: nodes whose weights are pruned; never biases, never normalisations.
        exclude_nodes: names of nodes that stay as they are.
    """

    sparsity: float = 0.5
    scope: str = "layer"
    op_types: tuple[str, ...] = ("Conv", "Gemm", "MatMul")
    exclude_nodes: tuple[str, ...] = ()


def prune_magnitude(model: bytes, arguments: PruneMagnitude, material: Material | None = None) -> bytes:
    """The model with zeros; no material is looked at.

    Raises:
        NotApplied: an argument is not one, there is no weight, or the share of zeros is not what was asked.
    """
    if not 0 < arguments.sparsity < 1 or arguments.scope not in ("layer", "global"):
        raise NotApplied(
            f"{_STEP} takes a sparsity between 0 and 1 and the scope layer or global, "
            f"not {arguments.sparsity} and {arguments.scope!r}."
        )
    proto = graphs.read(model, _STEP)
    found = graphs.weighted(proto, arguments.op_types, _STEP, arguments.exclude_nodes, may_share=True)
    weights = {one.weight.name: one.array() for one in found}
    groups = [[name] for name in weights] if arguments.scope == "layer" else [list(weights)]
    for group in groups:
        weights |= _pruned({name: weights[name] for name in group}, arguments.sparsity)
    for one in found:
        graphs.replace(one.weight, weights[one.weight.name])
    result = graphs.write(proto)
    for group in groups:
        _assert_zeros(model, result, group, arguments.sparsity)
    same_signature(model, result, _STEP)
    return result


def smallest(array: Floats, count: int) -> Mask:
    """Where the `count` numbers of least magnitude are; among equals the first."""
    mask = np.zeros(array.size, dtype=np.bool_)
    mask[np.argsort(np.abs(array), axis=None, kind="stable")[:count]] = True
    return mask.reshape(array.shape)


def _pruned(weights: dict[str, Floats], sparsity: float) -> dict[str, Floats]:
    flat = np.concatenate([array.ravel() for array in weights.values()])
    flat[smallest(flat, round(sparsity * flat.size))] = 0
    ends = np.cumsum([array.size for array in weights.values()])[:-1]
    pieces = zip(weights.items(), np.split(flat, ends), strict=True)
    return {name: piece.reshape(array.shape) for (name, array), piece in pieces}


def _assert_zeros(before: bytes, after: bytes, group: list[str], sparsity: float) -> None:
    earlier, zeros, total = _zeros(before, group), _zeros(after, group), _sizes(after, group)
    wanted = max(round(sparsity * total), earlier)
    if zeros != wanted:
        raise NotApplied(
            f"{_STEP} left {zeros} zeros of {total} weights in {', '.join(group)}, and {wanted} was asked."
        )


def _zeros(model: bytes, names: list[str]) -> int:
    return sum(int(np.count_nonzero(array == 0)) for array in _arrays(model, names))


def _sizes(model: bytes, names: list[str]) -> int:
    return sum(array.size for array in _arrays(model, names))


def _arrays(model: bytes, names: list[str]) -> list[Floats]:
    graph = graphs.read(model, _STEP).graph
    return [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in names]


TECHNIQUE = Technique("prune_magnitude", PruneMagnitude, prune_magnitude)
