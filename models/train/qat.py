"""Quantisation-aware training: a network that computes with the roundings of int8, so that it learns to bear them.

    Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    2018 (arXiv:1712.05877): moving ranges of activations, straight-through gradients, batch normalisation folded

`prepare` puts roundings into a trained network, `Trainer` goes on training it, and `qat_export.export_quantised`
makes an ONNX file of it whose weights are stored in 8 bits.
"""

from __future__ import annotations

import copy
import operator
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.train.examples import Examples

# "cpu": unsigned activations with a zero point, signed weights, as VNNI kernels take them. "tensorrt": both signed and
# symmetric. Weights have a scale for each output channel in both.
Form = Literal["cpu", "tensorrt"]

CALIBRATION_ROWS = 100
_QUANTISED = (nn.Conv2d, nn.Linear)
# What gives values that it was given: a rounding in front of it holds behind it as well.
_PASSING = (nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity)
_PASSING_CALLS = ("flatten", "view", "reshape", torch.flatten)
_RELUS = (functional.relu, torch.relu, "relu")
_SUMS = (operator.add, operator.iadd, torch.add)


class Rounding(nn.Module):
    """Rounds activations to the 256 values of a range, which follows what it sees in training mode.

    Args:
        form: decides between unsigned and symmetric signed values.
        momentum: by how much a batch moves the range.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, form: Form, momentum: float = 0.05) -> None:
        super().__init__()
        self.form, self.momentum = form, momentum
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest integer."""
        return (0, 255) if self.form == "cpu" else (-128, 127)

    def scale(self) -> tuple[Tensor, Tensor]:
        """Scale float32 () and zero point int32 () of the range; 0 is always met exactly."""
        tiny = torch.finfo(torch.float32).tiny * 1e6
        if self.form == "tensorrt":
            largest = torch.maximum(-self.low, self.high)
            return (largest / 127).clamp(min=tiny), torch.zeros((), dtype=torch.int32, device=largest.device)
        scale = ((self.high - self.low) / 255).clamp(min=tiny)
        return scale, (-self.low / scale).round().clamp(0, 255).to(torch.int32)

    def forward(self, values: Tensor) -> Tensor:
        """The values, rounded; gradients pass where a value lies in the range."""
        if self.training:
            self.observe(values)
        scale, zero = self.scale()
        return torch.fake_quantize_per_tensor_affine(values, scale, zero, *self.bounds)

    @torch.no_grad()
    def observe(self, values: Tensor) -> None:
        """Moves the range towards that of these values; the first ones set it. All ranks move alike."""
        ends = torch.stack([-values.min(), values.max()]) if values.numel() else torch.zeros(2, device=values.device)
        ends = ends.clamp(min=0).float()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(ends, op=dist.ReduceOp.MAX)
        step = self.momentum if self.seen else 1.0
        self.low.lerp_(-ends[0], step)
        self.high.lerp_(ends[1], step)
        self.seen.add_(1)


class RoundedWeights(nn.Module):
    """A convolution or a linear layer whose weights are rounded to 8 bits, with a scale an output channel.

    Args:
        inner: the layer.
        source: name of the `Rounding` that its input comes from.
    """

    def __init__(self, inner: nn.Conv2d | nn.Linear, source: str) -> None:
        super().__init__()
        self.inner, self.source = inner, source

    def scale(self) -> Tensor:
        """The scales, float32 (output channels,)."""
        weight = self.inner.weight.detach()
        largest = weight.abs().amax(tuple(range(1, weight.ndim)))
        return (largest / 127).clamp(min=torch.finfo(torch.float32).tiny * 1e6)

    def forward(self, values: Tensor) -> Tensor:
        """What the layer gives with its rounded weights."""
        weight, scale = self.inner.weight, self.scale()
        zeros = torch.zeros(len(scale), dtype=torch.int32, device=scale.device)
        rounded = torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -128, 127)
        return apply(self.inner, values, rounded, self.inner.bias)


def apply(layer: nn.Conv2d | nn.Linear, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer with another weight and bias of the same shapes."""
    if isinstance(layer, nn.Linear):
        return functional.linear(values, weight, bias)
    return layer._conv_forward(values, weight, bias)


def prepare(network: nn.Module, calibration: Examples, form: Form = "cpu") -> fx.GraphModule:
    """A copy of a trained network with roundings in it: ranges from a calibration pass, batch normalisation folded.

    Args:
        network: with convolutions or linear layers; torch.fx must be able to trace it.
        calibration: inputs like those that it will see.
        form: where the exported file is to run.

    Raises:
        ValueError: nothing in it can be quantised, or it cannot be traced.
    """
    traced = _traced(network)
    modules = dict(traced.named_modules())
    inner = [node for node in traced.graph.nodes if isinstance(_module(node, modules), _QUANTISED)]
    if not inner:
        raise ValueError("Nothing in the network can be quantised: it has no Conv2d and no Linear.")
    sources = {node: _source(node.args[0], modules) for node in inner}
    places = _places(traced, sources, modules)
    names = {place: f"rounding_{number}" for number, place in enumerate(places)}
    for node in inner:
        traced.set_submodule(str(node.target), RoundedWeights(modules[str(node.target)], names[sources[node]]))
    for place, name in names.items():
        _round_after(traced, place, name, Rounding(form))
    traced.graph.lint()
    traced.recompile()
    _calibrate(traced, calibration)
    return traced


def _traced(network: nn.Module) -> fx.GraphModule:
    try:
        return _folded(fx.symbolic_trace(copy.deepcopy(network).eval()))
    except (TypeError, fx.proxy.TraceError) as error:
        raise ValueError(f"The network cannot be traced, so no rounding can be put into it: {error}.") from error


def _folded(traced: fx.GraphModule) -> fx.GraphModule:
    """The network with each batch normalisation that follows a convolution alone made part of it."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        norm, before = _module(node, modules), node.args[0] if node.args else None
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(before, fx.Node) or len(before.users) > 1:
            continue
        convolution = _module(before, modules)
        if isinstance(convolution, nn.Conv2d):
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _places(
    traced: fx.GraphModule, sources: dict[fx.Node, fx.Node], modules: dict[str, nn.Module]
) -> dict[fx.Node, None]:
    """Whose values are rounded: what layers read, what convolutions give, and sums of two that are; never answers."""
    places = dict.fromkeys(sources.values())
    for node in traced.graph.nodes:
        sum_of_rounded = node.target in _SUMS and all(part in places for part in node.args)
        if isinstance(_module(node, modules), nn.Conv2d) or sum_of_rounded:
            end = _end(node, modules)
            places |= {} if any(user.op == "output" for user in end.users) else {end: None}
    return places


def _round_after(traced: fx.GraphModule, node: fx.Node, name: str, rounding: Rounding) -> None:
    traced.add_module(name, rounding)
    with traced.graph.inserting_after(node):
        rounded = traced.graph.call_module(name, (node,))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)


@torch.no_grad()
def _calibrate(traced: fx.GraphModule, calibration: Examples) -> None:
    """Sets the ranges to what the calibration inputs need; dropout stays off."""
    roundings = [part for part in traced.modules() if isinstance(part, Rounding)]
    traced.eval()
    for part in roundings:
        part.train()
    device = next(traced.parameters()).device
    for rows in torch.arange(len(calibration)).split(CALIBRATION_ROWS):
        traced(*calibration.take(rows).to(device).inputs)
    traced.eval()


def _module(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    return modules.get(str(node.target)) if node.op == "call_module" else None


def _source(node: fx.Node, modules: dict[str, nn.Module]) -> fx.Node:
    """Where the values of this node come from, behind whatever only passes them on."""
    called = node.target if node.op in ("call_function", "call_method") else None
    passes = isinstance(_module(node, modules), _PASSING) or called in _PASSING_CALLS
    return _source(node.args[0], modules) if passes else node


def _end(node: fx.Node, modules: dict[str, nn.Module]) -> fx.Node:
    """The ReLU behind the node, which the runtime makes part of it, or the node."""
    users = list(node.users)
    if len(users) != 1:
        return node
    called = users[0].target if users[0].op in ("call_function", "call_method") else None
    return users[0] if isinstance(_module(users[0], modules), nn.ReLU) or called in _RELUS else node
