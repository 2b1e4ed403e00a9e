"""Trained quantisation: the weights of a layer share a few values, and training moves those values.

The gradient of a shared value is the sum of the gradients of the weights that take it; zeros stay zero.
Source: Han, Mao, Dally, "Deep Compression" (ICLR 2016), sections 3.1 to 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.compress.clustering import cluster


class Shared(nn.Module):
    """A weight as a function of its codebook, for torch's parametrisations.

    Args:
        shape: of the weight.
        positions: int64 (m,), where in the flat weight values are not zero.
        clusters: int64 (m,), which shared value each of them takes.
        codebook: float32 (k,).
    """

    def __init__(self, shape: torch.Size, positions: Tensor, clusters: Tensor, codebook: Tensor) -> None:
        super().__init__()
        self._shape = shape
        self.register_buffer("positions", positions)
        self.register_buffer("clusters", clusters)
        self.register_buffer("start", codebook)

    def forward(self, codebook: Tensor) -> Tensor:
        """The weight; autograd sums over `codebook[clusters]` as the paper's equation 3 does."""
        flat = codebook.new_zeros(self._shape.numel())
        return flat.index_copy(0, self.positions, codebook[self.clusters]).view(self._shape)

    def right_inverse(self, _: Tensor) -> Tensor:
        """What is trained in the weight's place."""
        return self.start.clone()


def share(network: nn.Module, values: Mapping[str, int]) -> None:
    """Clusters the weights of some layers and makes their shared values what is trained, in place.

    Args:
        network: whose weights.
        values: name of a module with a `weight` -> how many values it may have besides zero, by k-means.
    """
    modules = dict(network.named_modules())
    for name, count in values.items():
        weight = modules[name].weight.detach()
        flat = weight.flatten()
        positions = flat.nonzero().flatten()
        found = cluster(flat[positions].numpy(), count, keep_zero=False)
        clusters = torch.from_numpy(found.indices.astype("int64"))
        shared = Shared(weight.shape, positions, clusters, torch.from_numpy(found.codebook))
        parametrize.register_parametrization(modules[name], "weight", shared, unsafe=True)


def settle(network: nn.Module) -> None:
    """Turns shared weights back into plain ones with the values that they have now, in place."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
            # A new parameter: the old one's gradient still has the shape of the codebook, which exporters refuse.
            module.weight = nn.Parameter(module.weight.detach().clone())
