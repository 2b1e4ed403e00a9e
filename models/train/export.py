"""Exports a trained network to ONNX bytes: dynamic batch axis, weights inside, nothing of the machine that made it.

What was exported is held against the network by `parity`, through the runner that serves.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from models.train.examples import Examples
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

BATCH = "batch"
SEQUENCE = "sequence"
OPSET = 18
PARITY_ROWS = 100


def export(
    network: nn.Module,
    example: Tensor | Sequence[Tensor],
    *,
    input_name: str | Sequence[str],
    output_name: str,
    max_sequence: int | None = None,
) -> bytes:
    """The network, in eval mode, as an ONNX file.

    Args:
        network: takes one or several tensors and gives one; their batch axes become the one symbol `BATCH`.
        example: an input of at least two rows; several for a network of several inputs, of equally many rows.
        input_name: of the graph's input; as many as there are examples, in their order.
        output_name: of the graph's output.
        max_sequence: with it axis 1 of every input of two or more axes is the symbol `SEQUENCE`, from 1 to this length
            (the examples need at least 2); without it axis 1 is as long as in the example.

    Raises:
        ValueError: names and examples do not fit together, or the export did not keep the axes symbolic.
    """
    examples = (example,) if isinstance(example, Tensor) else tuple(example)
    names = (input_name,) if isinstance(input_name, str) else tuple(input_name)
    if len(names) != len(examples):
        raise ValueError(f"{len(examples)} example inputs have {len(names)} names: {', '.join(names)}.")
    axes = {0: torch.export.Dim(BATCH)}
    further = {1: torch.export.Dim(SEQUENCE, max=max_sequence)} if max_sequence else {}
    shapes = tuple(axes | further if tensor.ndim > 1 else axes for tensor in examples)
    network.eval()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            network,
            examples,
            path,
            input_names=list(names),
            output_names=[output_name],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(path)
    _forget_origin(model)
    onnx.checker.check_model(model, full_check=True)
    _assert_symbolic(model.graph, sequence=bool(max_sequence))
    return model.SerializeToString(deterministic=True)


def parity(network: nn.Module, model: bytes, examples: Examples, *, tolerance: float = 1e-4) -> float:
    """How far the ONNX file's answers are from the network's: the largest absolute difference over all examples.

    Both run on the CPU, the network in eval mode and the file in the runner that serves, in batches of `PARITY_ROWS`.

    Args:
        network: gives one tensor (n, ...).
        model: the ONNX file; its inputs are the network's, in their order, and its first output is the network's.
        examples: as the network takes them; the labels are not looked at.
        tolerance: absolute; float32 logits of size 10 differ by about 1e-5.

    Raises:
        ValueError: inputs are not equally many, or the difference is NaN or above the tolerance.
    """
    runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    try:
        names = [spec.name for spec in runner.inputs]
        if len(names) != len(examples.inputs):
            raise ValueError(f"The file has the inputs {', '.join(names)}; the examples have {len(examples.inputs)}.")
        batches = torch.arange(len(examples)).split(PARITY_ROWS)
        gaps = [_gap(network, runner, names, examples.take(rows).inputs) for rows in batches]
    finally:
        runner.close()
    worst = torch.stack(gaps).max().item()
    if not worst <= tolerance:
        raise ValueError(f"The exported file's answers differ from the network's by {worst:.3g}, above {tolerance:g}.")
    return worst


@torch.no_grad()
def _gap(network: nn.Module, runner: OnnxRunner, names: Sequence[str], inputs: tuple[Tensor, ...]) -> Tensor:
    answer = runner.run({name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
    network.eval()
    expected: Tensor = network(*inputs)
    return (torch.from_numpy(answer[runner.outputs[0].name]).double() - expected.double()).abs().max()


def _assert_symbolic(graph: onnx.GraphProto, *, sequence: bool) -> None:
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_param != BATCH:
            raise ValueError(f"The exported {value.name} has no axis {BATCH!r} in front.")
    for value in graph.input if sequence else ():
        dims = value.type.tensor_type.shape.dim
        if len(dims) > 1 and dims[1].dim_param != SEQUENCE:
            raise ValueError(f"The exported {value.name} has no axis {SEQUENCE!r} at place 1.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Mutes what the exporter says of its own deprecated calls and of packages that are not needed."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drops the stack traces and source paths that the exporter writes beside every node."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
