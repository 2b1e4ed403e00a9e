"""Puts the weights of an exported network back into a network of the same build, so that a published file can teach.

A full version that was published is never made again, and torch's own file of it need not exist any more.
"""

from __future__ import annotations

import io
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import nn


class OtherBuild(ValueError):
    """The file is not of a network of this build."""


def load_onnx(network: nn.Module, model: bytes) -> None:
    """Fills the network from an ONNX file's initializers of the same names, in place, and leaves it in eval mode.

    Args:
        network: without normalisations, which an export folds into the layer before them.
        model: the file; the bias of a folded layer is called `<layer>.weight_bias` there.

    Raises:
        OtherBuild: a weight is missing or has another shape.
    """
    there = {one.name: one for one in onnx.load_from_string(model).graph.initializer}
    state = {}
    for name, own in network.state_dict().items():
        found = there.get(name) or there.get(name.removesuffix("bias") + "weight_bias")
        if found is None or tuple(found.dims) != tuple(own.shape):
            what = "lacks it" if found is None else f"has it as {tuple(found.dims)}"
            raise OtherBuild(f"The network has a weight {name} {tuple(own.shape)}, and the file {what}.")
        state[name] = torch.from_numpy(numpy_helper.to_array(found).copy())
    network.load_state_dict(state)
    network.eval()


def to_bytes(network: nn.Module) -> bytes:
    """The network's weights as torch's file, without pickled code."""
    buffer = io.BytesIO()
    torch.save({name: value.contiguous() for name, value in network.state_dict().items()}, buffer)
    return buffer.getvalue()


def from_bytes(network: nn.Module, data: bytes) -> None:
    """Fills the network from what `to_bytes` gave, in place, and leaves it in eval mode."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True)
    network.load_state_dict(state)
    network.eval()
