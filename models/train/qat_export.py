"""Exports a network that was trained with roundings: QuantizeLinear and DequantizeLinear where they were, int8 weights.

torch's exporter knows no fake quantisation; each rounding is therefore exported as the pair of ONNX operators that it
stands for, and each weight as the 8-bit numbers that it was rounded to.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from models.compress.checks import NotApplied, op_counts
from models.train.export import export
from models.train.qat import RoundedWeights, Rounding, apply

_INTEGERS = {(0, 255): torch.uint8, (-128, 127): torch.int8}


def export_quantised(
    network: nn.Module, example: Tensor | Sequence[Tensor], *, input_name: str | Sequence[str], output_name: str
) -> bytes:
    """The prepared and trained network as an ONNX file; arguments are those of `export`.

    Raises:
        NotApplied: a rounding or the 8 bits of a weight are not in the file.
    """
    stored = copy.deepcopy(network).cpu().eval()
    parts = dict(stored.named_modules())
    weights = {name: part for name, part in parts.items() if isinstance(part, RoundedWeights)}
    roundings = {name: part for name, part in parts.items() if isinstance(part, Rounding)}
    if not weights or not roundings:
        raise NotApplied("The network has no roundings to export; prepare puts them in.")
    for name, part in weights.items():
        stored.set_submodule(name, _StoredWeights(part, roundings[part.source]))
    for name, part in roundings.items():
        stored.set_submodule(name, _StoredRounding(part))
    model = export(stored, example, input_name=input_name, output_name=output_name)
    _assert_quantised(model, len(weights), len(roundings))
    return model


class _StoredRounding(nn.Module):
    """A rounding as the exporter is shown it."""

    scale: Tensor
    zero: Tensor

    def __init__(self, of: Rounding) -> None:
        super().__init__()
        self.kind = _INTEGERS[of.bounds]
        scale, zero = of.scale()
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero.to(self.kind))

    def forward(self, values: Tensor) -> Tensor:
        kind = self.kind
        whole = torch.onnx.ops.symbolic(
            "QuantizeLinear", (values, self.scale, self.zero), dtype=kind, shape=values.shape
        )
        return torch.onnx.ops.symbolic(
            "DequantizeLinear", (whole, self.scale, self.zero), dtype=values.dtype, shape=values.shape
        )


class _StoredWeights(nn.Module):
    """A layer with its weights in 8 bits as the exporter is shown it.

    The bias is in 32 bits, at the scale of input times weight: without, ONNX Runtime makes no integer kernel of a Gemm
    whose answer is not rounded. A linear layer of more than two axes becomes MatMul and Add, its bias left alone.
    """

    weight: Tensor
    turned: Tensor
    scale: Tensor
    zero: Tensor

    def __init__(self, of: RoundedWeights, source: Rounding) -> None:
        super().__init__()
        self.inner = of.inner
        scale = of.scale()
        shape = [-1] + [1] * (of.inner.weight.ndim - 1)
        whole = (of.inner.weight.detach() / scale.view(shape)).round().clamp(-128, 127).to(torch.int8)
        self.register_buffer("weight", whole)
        self.register_buffer("turned", whole.transpose(0, 1).contiguous())
        self.register_buffer("scale", scale)
        self.register_buffer("zero", torch.zeros(len(scale), dtype=torch.int8))
        bias_scale = scale * source.scale()[0]
        bias = torch.zeros_like(scale) if of.inner.bias is None else of.inner.bias.detach()
        most = torch.iinfo(torch.int32).max
        self.register_buffer("bias", (bias.double() / bias_scale).round().clamp(-most, most).to(torch.int32))
        self.register_buffer("bias_scale", bias_scale)
        self.register_buffer("bias_zero", torch.zeros(len(scale), dtype=torch.int32))

    def forward(self, values: Tensor) -> Tensor:
        if isinstance(self.inner, nn.Linear) and values.ndim != 2:
            product = torch.matmul(values, _real(self.turned, self.scale, self.zero, 1))
            return product if self.inner.bias is None else product + self.inner.bias
        bias = None if self.inner.bias is None else _real(self.bias, self.bias_scale, self.bias_zero, 0)
        return apply(self.inner, values, _real(self.weight, self.scale, self.zero, 0), bias)


def _real(whole: Tensor, scale: Tensor, zero: Tensor, axis: int) -> Tensor:
    """The numbers that stored integers stand for, with a scale for each place on the axis."""
    inputs = (whole, scale, zero)
    return torch.onnx.ops.symbolic(
        "DequantizeLinear", inputs, attrs={"axis": axis}, dtype=torch.float32, shape=whole.shape
    )


def _assert_quantised(model: bytes, weights: int, roundings: int) -> None:
    counts = op_counts(model)
    found = counts.get("QuantizeLinear", 0)
    if found != roundings:
        raise NotApplied(f"The file has {found} roundings of activations, not {roundings}.")
    initializers = onnx.load_from_string(model).graph.initializer
    eight_bits = [one for one in initializers if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1]
    if len(eight_bits) != weights:
        raise NotApplied(f"The file has {len(eight_bits)} weights in 8 bits, not {weights}.")
