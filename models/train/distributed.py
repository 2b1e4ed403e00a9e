"""Data-parallel training: several processes, each with its share of every batch, step as one.

Every rank sees the same global batches in the same order and takes its slice. Shares of unequal size are weighted, so
that the gradient is that of the mean over the global batch; with `global_statistics` that also holds for networks with
batch normalisation. Without a process group all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: 0 is the one that writes.
        count: of all.
        device: on which what they exchange must be.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def current(cls) -> Ranks:
        """From the process group; one rank without a group."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        cuda = dist.get_backend() == "nccl"
        device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def wrap(self, network: nn.Module) -> nn.Module:
        """What to call instead of the network, so that gradients are averaged over the ranks during `backward`.

        All ranks take the weights of rank 0. Weights and gradients stay those of `network`.
        """
        if self.count == 1:
            return network
        return DistributedDataParallel(network, forward_sync_buffers=False)

    def share(self, rows: int) -> slice:
        """This rank's part of a batch of so many rows; the parts differ by at most one row, and may be empty."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def weight(self, own_rows: int, rows: int) -> float:
        """What a mean over `own_rows` counts, so that the average over the ranks is the mean over all `rows`."""
        return 1.0 if self.count == 1 else own_rows * self.count / rows

    def total(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all ranks; every rank gets the same."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return [float(value) for value in sums.tolist()]

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, of equal shape, in the order of the ranks, on the CPU."""
        if self.count == 1:
            return [tensor]
        mine = tensor.to(self.device)
        found = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(found, mine)
        return [one.cpu() for one in found]

    def wait(self) -> None:
        """Until all are here."""
        self.total([0.0])


@contextmanager
def global_statistics(network: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Lets every batch normalisation in training mode take mean and variance over the rows of all ranks.

    The modules stay what they are, so state, export and pruning see no difference. torch's own SyncBatchNorm does the
    same, on GPUs only.
    """
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm)] if ranks.count > 1 else []
    for norm in norms:
        object.__setattr__(norm, "forward", _Normalisation(norm))
    try:
        yield
    finally:
        for norm in norms:
            object.__delattr__(norm, "forward")


@dataclass(frozen=True, slots=True)
class _Normalisation:
    """Batch normalisation (Ioffe and Szegedy 2015) over all ranks; in eval mode the module's own."""

    norm: _BatchNorm

    def __call__(self, rows: Tensor) -> Tensor:
        norm = self.norm
        if not norm.training:
            return type(norm).forward(norm, rows)
        axes = [axis for axis in range(rows.ndim) if axis != 1]
        count = torch.full((1,), rows.numel() / rows.shape[1], dtype=rows.dtype, device=rows.device)
        sums = _Sum.apply(torch.cat([rows.sum(axes), count]))
        mean, n = sums[:-1] / sums[-1], sums[-1].detach()
        shape = [1, -1] + [1] * (rows.ndim - 2)
        # The squares of differences in a second round: a difference of squares would lose half the digits.
        variance = _Sum.apply((rows - mean.view(shape)).square().sum(axes)) / n
        if norm.track_running_stats:
            self._track(mean.detach(), variance.detach() * n / (n - 1).clamp(min=1))
        scale = torch.rsqrt(variance + norm.eps)
        answer = (rows - mean.view(shape)) * scale.view(shape)
        if norm.affine:
            answer = answer * norm.weight.view(shape) + norm.bias.view(shape)
        return answer

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        norm = self.norm
        norm.num_batches_tracked.add_(1)
        momentum = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance, momentum)


class _Sum(torch.autograd.Function):
    """The sum over all ranks; its gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        del ctx
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def nothing(network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """The loss of a rank without rows: 0, by way of the network, so that it takes part in every exchange."""
    return network(*inputs).sum() * 0.0
