"""How far a training run is: epochs that are over, the place in the one that is not, and what callers are shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to; the best so far is the one whose weights are kept."""

    number: int
    training_loss: float
    development_loss: float
    development_accuracy: float
    best: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the weights.

    Attributes:
        epoch: from 1.
        number: within the epoch, from 1.
        of: steps in the epoch.
        loss: mean over the batch, of all ranks.
    """

    epoch: int
    number: int
    of: int
    loss: float


@dataclass(slots=True)
class Position:
    """Where a run stands; everything of it that is neither network nor optimiser.

    Attributes:
        history: the epochs that are over.
        best: the state of the network after the best of them.
        order: of the rows in the epoch that is under way; None between two.
        steps: done in it.
        total: loss summed over its rows so far.
    """

    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    order: Tensor | None = None
    steps: int = 0
    total: float = 0.0

    def close(self, epoch: Epoch) -> None:
        """The epoch is over."""
        self.history.append(epoch)
        self.order, self.steps, self.total = None, 0, 0.0

    def state(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        told = {name: getattr(self, name) for name in ("best", "order", "steps", "total")}
        return {**told, "history": [asdict(epoch) for epoch in self.history]}

    @classmethod
    def of(cls, state: dict[str, Any]) -> Position:
        """From what `state` gave."""
        return cls(**{**state, "history": [Epoch(**epoch) for epoch in state["history"]]})
