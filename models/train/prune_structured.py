"""Structured pruning: whole channels are cut out of a network, so that what is left is smaller and faster everywhere.

Which layers must lose the same channels together (over additions, normalisations, flattenings) is found by
Torch-Pruning's dependency graph (Fang et al. 2023, https://arxiv.org/abs/2301.12900). What was cut is a plan, plain
JSON: with it the pruned network is built anew from the full architecture, and no pickle is needed. Fine-tuning is the
training loop's, best with the full network as the teacher.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn import functional

from models.train.examples import Examples

PRUNABLE = (nn.Conv1d, nn.Conv2d, nn.Linear)


class NotPruned(ValueError):
    """The network could not be pruned as asked; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class PruneStructured:
    """How to prune; every field goes into the card.

    Attributes:
        ratio: share of the channels to cut, 0 to 1; of each layer, or of all together.
        scope: "uniform" cuts this share of every layer, "global" the least important channels wherever they are.
        importance: "magnitude", the L2 norm of all weights that belong to a channel (Li et al. 2017 for one layer,
            Fang et al. 2023 for a group); or "taylor", the first-order change of the loss without the channel
            (Molchanov et al. 2019), which needs examples.
        round_to: what is left of a layer is a multiple of this; kernels like 8.
        most: no layer loses more than this share.
        ignored: names of layers whose output channels stay; a name covers the layers below it. The output layer, the
            one that is called last, always stays. Input channels of the network are never cut.
    """

    ratio: float = 0.5
    scope: Literal["uniform", "global"] = "uniform"
    importance: Literal["magnitude", "taylor"] = "magnitude"
    round_to: int = 8
    most: float = 0.9
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Which output channels are kept, by the name of the layer at the root of each group that was cut."""

    kept: Mapping[str, tuple[int, ...]]

    def to_json(self) -> bytes:
        """The plan as a file."""
        return json.dumps({"kept": {name: list(rows) for name, rows in sorted(self.kept.items())}}).encode()

    @staticmethod
    def from_json(data: bytes) -> Plan:
        """Reads what `to_json` wrote."""
        kept = json.loads(data)["kept"]
        return Plan(MappingProxyType({str(name): tuple(int(row) for row in rows) for name, rows in kept.items()}))


@dataclass(frozen=True, slots=True)
class Pruned:
    """A pruned network, not yet fine-tuned, and what the pruning came to; `macs` are multiply-adds for one row."""

    network: nn.Module
    plan: Plan
    macs_before: int
    macs: int
    parameters_before: int
    parameters: int


def prune_channels(
    network: nn.Module, example: Tensor, arguments: PruneStructured, examples: Examples | None = None
) -> Pruned:
    """A pruned copy of the network, in eval mode; the network itself stays as it is.

    Args:
        network: takes one tensor and gives one, whose shape is kept.
        example: an input, float32 (n, ...).
        arguments: how much, and which channels first.
        examples: what the Taylor importance takes its gradients from; a few hundred suffice.

    Raises:
        NotPruned: an ignored layer does not exist, examples are missing, nothing was cut, or the output changed shape.
    """
    whole = copy.deepcopy(network).eval()
    ignored = [*_named(whole, arguments.ignored), _output_layer(whole, example)]
    if arguments.importance == "taylor":
        _gradients(whole, examples)
    scores = {"magnitude": tp.importance.GroupMagnitudeImportance, "taylor": tp.importance.GroupTaylorImportance}
    with _quiet():
        pruner = tp.pruner.BasePruner(
            whole,
            example,
            importance=scores[arguments.importance](),
            global_pruning=arguments.scope == "global",
            pruning_ratio=arguments.ratio,
            max_pruning_ratio=arguments.most,
            round_to=arguments.round_to,
            ignored_layers=ignored,
        )
        pruner.step()
    return _result(network, example, _plan(network, pruner.pruning_history()))


def rebuild(network: nn.Module, example: Tensor, plan: Plan) -> nn.Module:
    """A copy of the network cut as the plan says, in eval mode: the architecture for a pruned network's state dict.

    Args:
        network: the full architecture; what its weights are does not matter when a state dict follows.
        example: an input, as in `prune_channels`.
        plan: what is kept.

    Raises:
        NotPruned: the plan names a layer or a channel that the network does not have.
    """
    cut = copy.deepcopy(network).eval()
    with _quiet():
        graph = tp.DependencyGraph().build_dependency(cut, example_inputs=example)
        for name, kept in plan.kept.items():
            (layer,) = _named(cut, (name,))[:1]
            channels = layer.weight.shape[0]
            if not kept or not set(kept) <= set(range(channels)):
                raise NotPruned(f"The plan keeps channels {kept} of {name}, which has {channels}.")
            removed = sorted(set(range(channels)) - set(kept))
            graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, removed).prune()
    for weight in cut.parameters():
        weight.grad = None
    return cut


def macs(network: nn.Module, example: Tensor) -> int:
    """Multiply-adds of one row."""
    with _quiet():
        counted, _ = tp.utils.count_ops_and_params(network, example[:1])
    return int(counted)


def _result(network: nn.Module, example: Tensor, plan: Plan) -> Pruned:
    """The network cut by its plan, so that what is handed over and what the plan builds cannot differ; checked."""
    if not plan.kept:
        raise NotPruned(
            "Pruning cut nothing: no layer can lose this share and keep a multiple of round_to, or all are ignored."
        )
    cut = rebuild(network, example, plan)
    with torch.no_grad():
        shapes = tuple(tuple(one.eval()(example).shape) for one in (copy.deepcopy(network), cut))
    if shapes[0] != shapes[1]:
        raise NotPruned(
            f"Pruning changed the output from {shapes[0]} to {shapes[1]}: name the layers that make it in `ignored`."
        )
    sizes = [sum(weight.numel() for weight in one.parameters()) for one in (network, cut)]
    work = [macs(one, example) for one in (network, cut)]
    if not (sizes[1] < sizes[0] and work[1] < work[0]):
        raise NotPruned(f"Pruning left {sizes[1]} of {sizes[0]} parameters and {work[1]} of {work[0]} multiply-adds.")
    return Pruned(cut, plan, work[0], work[1], sizes[0], sizes[1])


def _plan(network: nn.Module, history: list[Any]) -> Plan:
    """Torch-Pruning's history (layer, of its outputs?, indices removed) turned into what is kept."""
    layers, kept = dict(network.named_modules()), {}
    for name, of_outputs, removed in history:
        if not of_outputs or name in kept:
            raise NotPruned(f"Pruning cut {name} in a way that a plan cannot tell.")
        gone = {int(getattr(row, "idx", row)) for row in removed}
        kept[name] = tuple(row for row in range(layers[name].weight.shape[0]) if row not in gone)
    return Plan(MappingProxyType(kept))


def _named(network: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """The prunable layers of these names, or below them."""
    found = []
    for wanted in names:
        under = [
            layer
            for name, layer in network.named_modules()
            if (name == wanted or name.startswith(f"{wanted}.")) and isinstance(layer, PRUNABLE)
        ]
        if not under:
            raise NotPruned(f"The network has no layer {wanted!r} whose channels could be cut.")
        found += under
    return found


def _output_layer(network: nn.Module, example: Tensor) -> nn.Module:
    """The prunable layer that is called last."""
    called: list[nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda layer, *_: called.append(layer))
        for layer in network.modules()
        if isinstance(layer, PRUNABLE)
    ]
    with torch.no_grad():
        network(example)
    for hook in hooks:
        hook.remove()
    if not called:
        raise NotPruned("The network has no convolution and no linear layer.")
    return called[-1]


def _gradients(network: nn.Module, examples: Examples | None) -> None:
    if examples is None or not len(examples):
        raise NotPruned("The Taylor importance needs examples to take gradients from.")
    torch.autograd.backward(functional.cross_entropy(network(*examples.inputs), examples.labels))


@contextmanager
def _quiet() -> Iterator[None]:
    """Mutes what Torch-Pruning says of parameters that it does not wrap; what came of the pruning is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
