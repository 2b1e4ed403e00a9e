"""Prunes a network's weights while it learns: the smallest of each layer become zero, and stay so at every step.

One round prunes to given shares and holds them; several rounds with training between them prune far without loss.
Source: Han, Pool, Tran, Dally, "Learning both Weights and Connections" (NIPS 2015), section 3. Biases are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def prune(network: nn.Module, keep: Mapping[str, float]) -> None:
    """Sets the smallest weights of some layers to zero, in place.

    Args:
        network: whose weights.
        keep: name of a weight, as `named_parameters` gives it -> share of its values that is kept, 0 < share <= 1.

    Raises:
        KeyError: the network has no such weight.
        ValueError: a share is out of range.
    """
    weights = dict(network.named_parameters())
    for name, share in keep.items():
        if not 0 < share <= 1:
            raise ValueError(f"{name} cannot keep a share of {share}; it is above 0 and at most 1.")
        _zero_smallest(weights[name].data, round(share * weights[name].numel()))


def hold(network: nn.Module) -> Callable[[], None]:
    """A hook for after each step that keeps what is zero now at zero, whatever the optimiser did to it."""
    held = [(weight, weight == 0) for weight in network.parameters() if bool((weight == 0).any())]

    def after_step() -> None:
        with torch.no_grad():
            for weight, zeros in held:
                weight.masked_fill_(zeros, 0.0)

    return after_step


def density(network: nn.Module) -> float:
    """Share of the network's parameters that are not zero."""
    total = sum(weight.numel() for weight in network.parameters())
    return sum(int(weight.count_nonzero()) for weight in network.parameters()) / total


def _zero_smallest(weight: Tensor, kept: int) -> None:
    order = weight.abs().flatten().argsort(descending=True, stable=True)
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[order[:kept]] = False
    weight.masked_fill_(mask.view(weight.shape), 0.0)
