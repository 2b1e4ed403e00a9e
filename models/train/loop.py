"""Trains a classifier: early stopping on the development set, and a checkpoint that makes an interruption harmless.

A run that was interrupted and started again with the same checkpoint ends with the weights of one that was not.
Knows no dataset and never sees a test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.train.examples import Examples
from models.train.settings import TrainSettings, optimizer, schedule

__all__ = ["Augment", "Epoch", "Objective", "TrainSettings", "Trainer", "cross_entropy"]

Augment = Callable[[Tensor, torch.Generator], Tensor]
Objective = Callable[[nn.Module, Examples], Tensor]

EVALUATION_ROWS = 1000


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
        training: what is learnt from.
        development: for early stopping only.
        objective: the loss, a mean over the rows of a batch; None takes the cross entropy.
        augment: distorts the first input of a batch; None leaves it alone.
        after_step: called after each change of the weights, to hold masks, shared values or ranges.
        checkpoint: written after each epoch; if it is there at the start, training goes on from it.
    """

    def __init__(
        self,
        network: nn.Module,
        training: Examples,
        development: Examples,
        settings: TrainSettings,
        *,
        objective: Objective | None = None,
        augment: Augment | None = None,
        after_step: Callable[[], None] = lambda: None,
        checkpoint: Path | None = None,
    ) -> None:
        self._network = network
        self._training, self._development = training, development
        self._settings = settings
        self._objective = objective or cross_entropy(settings.label_smoothing)
        self._augment = augment
        self._after_step = after_step
        self._checkpoint = checkpoint
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._optimizer = optimizer(network.parameters(), settings)
        steps = settings.epochs * -(-len(training) // settings.batch_rows)
        self._schedule = schedule(self._optimizer, settings, steps)
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
        self._network.train()
        total = 0.0
        order = torch.randperm(len(self._training), generator=self._generator)
        for rows in order.split(self._settings.batch_rows):
            total += self._step(self._training.take(rows)) * len(rows)
        if not math.isfinite(total):
            raise ArithmeticError(f"Training diverged in epoch {number}: its loss is {total}.")
        development_loss, accuracy = self._evaluate()
        best = development_loss < min((e.development_loss for e in self._history), default=float("inf"))
        if best:
            self._best = {name: value.clone() for name, value in self._network.state_dict().items()}
        return Epoch(number, total / len(self._training), development_loss, accuracy, best)

    def _step(self, batch: Examples) -> float:
        if self._augment is not None:
            first, *others = batch.inputs
            batch = replace(batch, inputs=(self._augment(first, self._generator), *others))
        loss = self._objective(self._network, batch)
        value = loss.item()
        if self._settings.l1:
            loss = loss + self._settings.l1 * sum(w.abs().sum() for w in self._network.parameters() if w.ndim > 1)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        if self._settings.max_grad_norm:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()
        self._after_step()
        return value

    @torch.no_grad()
    def _evaluate(self) -> tuple[float, float]:
        self._network.eval()
        parts = torch.arange(len(self._development)).split(EVALUATION_ROWS)
        logits = torch.cat([self._network(*self._development.take(rows).inputs) for rows in parts])
        labels = self._development.labels
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


def cross_entropy(label_smoothing: float = 0.0) -> Objective:
    """The mean cross entropy of the network's logits."""

    def objective(network: nn.Module, batch: Examples) -> Tensor:
        return functional.cross_entropy(network(*batch.inputs), batch.labels, label_smoothing=label_smoothing)

    return objective
