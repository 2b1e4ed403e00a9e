"""Exports a trained network to ONNX bytes: dynamic batch axis, weights inside, nothing of the machine that made it."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

BATCH = "batch"
OPSET = 18


def export(network: nn.Module, example: Tensor, *, input_name: str, output_name: str) -> bytes:
    """The network, in eval mode, as an ONNX file.

    Args:
        network: takes one tensor and gives one; its batch axes become the one symbol `BATCH`.
        example: an input of at least two rows.
        input_name: of the graph's input.
        output_name: of the graph's output.

    Raises:
        ValueError: the export did not keep both batch axes symbolic.
    """
    network.eval()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=[input_name],
            output_names=[output_name],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            external_data=False,
            verbose=False,
        )
        model = onnx.load(path)
    _forget_origin(model)
    onnx.checker.check_model(model, full_check=True)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim[0].dim_param != BATCH:
            raise ValueError(f"The exported {value.name} has no axis {BATCH!r} in front.")
    return model.SerializeToString(deterministic=True)


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
