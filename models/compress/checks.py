"""What must hold after every step: the file loads, inputs and outputs are the parent's, and the graph did change.

A technique that silently does nothing is the commonest fault of compression tools; here it is an error.
"""

from __future__ import annotations

from collections import Counter

import onnx

from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions


class NotApplied(ValueError):
    """A step did not do what it says; the message names the step and what is missing."""


def same_signature(before: bytes, after: bytes, step: str) -> None:
    """Holds the step's result against the model it came from, as the runtime sees both.

    Raises:
        NotApplied: names, datatypes or dims of inputs or outputs differ.
        BadModel: one of them does not load.
    """
    signatures = []
    for model in (before, after):
        runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
        signatures.append((runner.inputs, runner.outputs))
        runner.close()
    if signatures[0] != signatures[1]:
        raise NotApplied(f"{step} changed the inputs or outputs from {signatures[0]} to {signatures[1]}.")


def op_counts(model: bytes) -> dict[str, int]:
    """How many nodes of each type the main graph has, by name of the type."""
    graph = onnx.load_from_string(model).graph
    return dict(sorted(Counter(node.op_type for node in graph.node).items()))
