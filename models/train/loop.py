"""Trains a classifier: early stopping on the development set, and a checkpoint that makes an interruption harmless.

A run that was interrupted and started again with the same checkpoint ends with the weights of one that was not.
Knows no dataset and never sees a test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train; every field goes into the card.

    Attributes:
        patience: epochs without a lower development loss after which training ends.
        label_smoothing: share of the target spread over the other classes.
    """

    epochs: int = 80
    batch_rows: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    patience: int = 20
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to; the best so far is the one whose weights are kept."""

    number: int
    training_loss: float
    development_loss: float
    development_accuracy: float
    best: bool


class Trainer:
    """One training run of one network, whose weights it changes in place.

    Args:
        network: maps (n, ...) to logits (n, classes); its parameters are initialised already.
        training: inputs (n, ...) and int64 labels (n,).
        development: the same, for early stopping only.
        augment: distorts a batch of inputs; None leaves them alone.
        checkpoint: written after each epoch; if it is there at the start, training goes on from it.
    """

    def __init__(
        self,
        network: nn.Module,
        training: tuple[Tensor, Tensor],
        development: tuple[Tensor, Tensor],
        settings: TrainSettings,
        *,
        augment: Augment | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self._network = network
        self._training, self._development = training, development
        self._settings = settings
        self._augment = augment
        self._checkpoint = checkpoint
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        steps = settings.epochs * -(-len(training[1]) // settings.batch_rows)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, max_lr=settings.learning_rate, total_steps=steps
        )
        self._history: list[Epoch] = []
        self._best: dict[str, Tensor] = {}

    def run(self, on_epoch: Callable[[Epoch], None] = lambda _: None) -> tuple[Epoch, ...]:
        """Trains to the end, leaves the best epoch's weights in the network, in eval mode, and gives all epochs.

        Args:
            on_epoch: called after each epoch, and once for each one that a checkpoint already holds.

        Raises:
            ValueError: the checkpoint is of a run with other settings.
            ArithmeticError: the loss became NaN or infinite.
        """
        self._resume()
        for epoch in self._history:
            on_epoch(epoch)
        while len(self._history) < self._settings.epochs and not self._out_of_patience():
            epoch = self._epoch(len(self._history) + 1)
            self._history.append(epoch)
            self._save()
            on_epoch(epoch)
        self._network.load_state_dict(self._best)
        self._network.eval()
        return tuple(self._history)

    def _epoch(self, number: int) -> Epoch:
        inputs, labels = self._training
        self._network.train()
        total = 0.0
        order = torch.randperm(len(labels), generator=self._generator)
        for start in range(0, len(labels), self._settings.batch_rows):
            rows = order[start : start + self._settings.batch_rows]
            batch = inputs[rows]
            if self._augment is not None:
                batch = self._augment(batch, self._generator)
            loss = functional.cross_entropy(
                self._network(batch), labels[rows], label_smoothing=self._settings.label_smoothing
            )
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._optimizer.step()
            self._schedule.step()
            total += loss.item() * len(rows)
        if not math.isfinite(total):
            raise ArithmeticError(f"Training diverged in epoch {number}: its loss is {total}.")
        development_loss, accuracy = self._evaluate()
        best = development_loss < min((e.development_loss for e in self._history), default=float("inf"))
        if best:
            self._best = {name: value.clone() for name, value in self._network.state_dict().items()}
        return Epoch(number, total / len(labels), development_loss, accuracy, best)

    @torch.no_grad()
    def _evaluate(self) -> tuple[float, float]:
        inputs, labels = self._development
        self._network.eval()
        logits = self._network(inputs)
        accuracy = (logits.argmax(1) == labels).float().mean().item()
        return functional.cross_entropy(logits, labels).item(), accuracy

    def _out_of_patience(self) -> bool:
        since = next((i for i, epoch in enumerate(reversed(self._history)) if epoch.best), 0)
        return since >= self._settings.patience

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state = {
            "settings": asdict(self._settings),
            "history": [asdict(epoch) for epoch in self._history],
            "best": self._best,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "generator": self._generator.get_state(),
            "dropout": torch.get_rng_state(),
        }
        beside = self._checkpoint.with_name(self._checkpoint.name + ".tmp")
        torch.save(state, beside)
        beside.replace(self._checkpoint)

    def _resume(self) -> None:
        if self._checkpoint is None or not self._checkpoint.exists():
            return
        state: dict[str, Any] = torch.load(self._checkpoint, weights_only=True)
        if state["settings"] != asdict(self._settings):
            raise ValueError(f"{self._checkpoint.name} was written with other settings; remove it to start anew.")
        self._history = [Epoch(**epoch) for epoch in state["history"]]
        self._best = state["best"]
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
