"""Which nodes suffer most from a technique: one group is changed at a time, and the error that it makes is measured.

What the error is, and on which data, the caller says; on the development set, never on the test set. What ranks
first is what a second try leaves as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import onnx

from models.compress.checks import NotApplied

MOST_SINGLE_NODES = 40
BLOCKS = 20

Quantise = Callable[[bytes, tuple[str, ...]], bytes]
Error = Callable[[bytes], float]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A group of nodes and the error of the model in which only they are changed; None where nothing could be."""

    nodes: tuple[str, ...]
    error: float | None


def candidates(model: bytes, op_types: Sequence[str]) -> tuple[str, ...]:
    """Names of the main graph's nodes of these types that have a constant weight, in the graph's order.

    A node without a name is left out, as it cannot be excluded; `preprocess` names them all.
    """
    graph = onnx.load_from_string(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    held = [node for node in graph.node if node.op_type in op_types and constants.intersection(node.input)]
    return tuple(node.name for node in held if node.name)


def grouped(nodes: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Each node for itself, or, where there are more than `MOST_SINGLE_NODES`, `BLOCKS` runs of neighbours."""
    if len(nodes) <= MOST_SINGLE_NODES:
        return tuple((node,) for node in nodes)
    ends = [round(len(nodes) * block / BLOCKS) for block in range(BLOCKS + 1)]
    return tuple(tuple(nodes[start:end]) for start, end in pairwise(ends))


def rank_groups(
    model: bytes,
    quantise: Quantise,
    error: Error,
    groups: Sequence[Sequence[str]],
    on_group: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Ranked, ...]:
    """Measures one group at a time.

    Args:
        model: before the technique.
        quantise: the technique: (model, names of nodes to leave alone) -> model.
        error: of a changed model; larger is worse. NaN counts as worst.
        groups: `grouped(candidates(...))`, or others without a node in common.
        on_group: told after each group how many are done, and of how many.

    Returns:
        The groups, that with the largest error first and equals in the order given; those that the technique cannot
        change for themselves come last.
    """
    everything = [node for group in groups for node in group]
    found = []
    for done, group in enumerate(groups, start=1):
        exclude = tuple(node for node in everything if node not in group)
        try:
            measured = error(quantise(model, exclude))
        except NotApplied:
            measured = None
        found.append(Ranked(tuple(group), measured))
        on_group(done, len(groups))
    return tuple(sorted(found, key=_badness, reverse=True))


def rank_nodes(model: bytes, quantise: Quantise, error: Error, groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The names of `rank_groups` in one row, worst first; within a group in its own order."""
    return tuple(node for ranked in rank_groups(model, quantise, error, groups) for node in ranked.nodes)


def _badness(ranked: Ranked) -> float:
    if ranked.error is None:
        return float("-inf")
    return float("inf") if ranked.error != ranked.error else ranked.error
