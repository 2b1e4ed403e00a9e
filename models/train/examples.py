"""What training reads: a network's inputs as tensors, and the labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Examples:
    """Some examples.

    Attributes:
        inputs: what the network is called with, in order; each (n, ...).
        labels: int64 (n,).
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Examples:
        """The examples at these positions, in this order."""
        return Examples(tuple(tensor[rows] for tensor in self.inputs), self.labels[rows])
