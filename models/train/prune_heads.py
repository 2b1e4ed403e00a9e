"""Takes attention heads out of an encoder for good: which ones matter least, and the smaller matrices without them.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?": a head's importance is how much the loss changes with
a factor on what it gives, averaged over examples, and scaled within each layer. Taking a head out is exactly the same
as setting what it gives to zero.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.train.examples import Examples
from models.train.transformer import Attention, TextClassifier

Kept = Sequence[Sequence[int]]


def importance(network: TextClassifier, examples: Examples, *, batch_rows: int = 32) -> Tensor:
    """How much each head matters, float32 (layers, heads), of Euclidean length 1 in each layer.

    Args:
        network: every layer with equally many heads.
        examples: the rows that it is told by; some hundreds suffice.
        batch_rows: rows at a time.
    """
    network.eval()
    attentions = _attentions(network)
    total = torch.zeros(len(attentions), attentions[0].heads)
    for rows in torch.arange(len(examples)).split(batch_rows):
        total += _importance(network, attentions, examples.take(rows))
    network.zero_grad()
    return functional.normalize(total, dim=1)


def least_important(importances: Tensor, share: float) -> tuple[tuple[int, ...], ...]:
    """The heads to keep in each layer when this share of all goes, the least important first.

    The last head of a layer stays.

    Args:
        importances: (layers, heads).
        share: of all heads, above 0 and below 1.

    Raises:
        ValueError: the share takes no head, or more than may go.
    """
    layers, heads = importances.shape
    count = round(share * layers * heads)
    if not 0 < count <= layers * (heads - 1):
        raise ValueError(f"A share of {share} of {layers} layers with {heads} heads each takes {count} heads.")
    kept = [set(range(heads)) for _ in range(layers)]
    for at in importances.flatten().argsort(stable=True).tolist():
        layer, head = divmod(at, heads)
        if count and len(kept[layer]) > 1:
            kept[layer].remove(head)
            count -= 1
    return tuple(tuple(sorted(one)) for one in kept)


def prune_heads(network: TextClassifier, kept: Kept) -> TextClassifier:
    """A copy of the network with only these heads in each layer; the given one is left alone.

    Args:
        network: as it was trained.
        kept: for each layer the positions of its heads, ascending, at least one.

    Raises:
        ValueError: the positions are not such, or no head would go.
    """
    attentions = _attentions(network)
    if len(kept) != len(attentions) or not all(map(_is_choice, attentions, kept)):
        raise ValueError(f"{tuple(map(tuple, kept))} does not choose one or more heads in each layer.")
    if all(len(heads) == one.heads for one, heads in zip(attentions, kept, strict=True)):
        raise ValueError("Every head would be kept.")
    smaller = copy.deepcopy(network)
    for attention, heads in zip(_attentions(smaller), kept, strict=True):
        _keep(attention, heads)
    return smaller


def _is_choice(attention: Attention, heads: Sequence[int]) -> bool:
    return bool(heads) and sorted(set(heads)) == list(heads) and 0 <= heads[0] <= heads[-1] < attention.heads


def _attentions(network: TextClassifier) -> list[Attention]:
    return [layer.attention for layer in network.encoder.layers]


def _importance(network: TextClassifier, attentions: Sequence[Attention], batch: Examples) -> Tensor:
    """Sum over the rows of |d loss / d factor| for each head, (layers, heads)."""
    given: dict[Attention, Tensor] = {}

    def keep(module: nn.Module, _: object, output: Tensor) -> None:
        output.retain_grad()
        given[owners[module]] = output

    owners = {attention.mixed: attention for attention in attentions}
    hooks = [attention.mixed.register_forward_hook(keep) for attention in attentions]
    try:
        loss = functional.cross_entropy(network(*batch.inputs), batch.labels, reduction="sum")
        torch.autograd.backward(loss)
    finally:
        for hook in hooks:
            hook.remove()
    # The derivative by a factor on a head is the sum of what it gives times the gradient there.
    products = [(given[one] * _gradient(given[one])).sum((2, 3)).abs().sum(0) for one in attentions]
    return torch.stack(products).detach()


def _gradient(tensor: Tensor) -> Tensor:
    if tensor.grad is None:
        raise ValueError("The loss does not depend on a head.")
    return tensor.grad


@torch.no_grad()
def _keep(attention: Attention, heads: Sequence[int]) -> None:
    rows = torch.tensor([head * attention.size + at for head in heads for at in range(attention.size)])
    for part in (attention.query, attention.key, attention.value):
        part.weight = nn.Parameter(part.weight[rows].clone())
        part.bias = nn.Parameter(part.bias[rows].clone())
        part.out_features = len(rows)
    attention.output.weight = nn.Parameter(attention.output.weight[:, rows].clone())
    attention.output.in_features = len(rows)
    attention.heads = len(heads)
