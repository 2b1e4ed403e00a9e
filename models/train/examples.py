"""What training reads: a network's inputs as tensors, the labels, and where in the whole set each row stands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Examples:
    """Some examples.

    Attributes:
        inputs: what the network is called with, in order; each (n, ...).
        labels: int64 (n,).
        rows: int64 (n,), the positions in the set that these were taken from; None for a whole set.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Examples:
        """The examples at these positions, in this order; they still know their positions in the whole set."""
        places = rows if self.rows is None else self.rows[rows]
        return Examples(tuple(tensor[rows] for tensor in self.inputs), self.labels[rows], places)

    def part(self, share: slice) -> Examples:
        """The examples of a slice."""
        places = torch.arange(len(self))[share] if self.rows is None else self.rows[share]
        return Examples(tuple(tensor[share] for tensor in self.inputs), self.labels[share], places)

    def to(self, device: torch.device) -> Examples:
        """The same on this device; `rows` stay where they are."""
        if self.labels.device == device:
            return self
        return Examples(tuple(tensor.to(device) for tensor in self.inputs), self.labels.to(device), self.rows)

    def sha256(self) -> str:
        """Of inputs and labels, their dtypes and shapes, in hex."""
        digest = hashlib.sha256()
        for tensor in (*self.inputs, self.labels):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()
