"""Trains a classifier: early stopping on the development set, and a checkpoint that makes an interruption harmless.

A run that was interrupted and started again with the same checkpoint ends with the weights of one that was not, also
from the middle of an epoch. Within a process group all ranks train one network together (`distributed`).
Knows no dataset and never sees a test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.train import distributed
from models.train.checkpoint import Checkpoint
from models.train.distributed import Ranks
from models.train.examples import Examples
from models.train.interruption import Interruption, interruption
from models.train.progress import Epoch, Position, Step
from models.train.resumption import Moving, Resumption
from models.train.settings import TrainSettings, optimizer, schedule

__all__ = ["Augment", "Checkpoint", "Epoch", "Objective", "Step", "TrainSettings", "Trainer", "cross_entropy"]

Augment = Callable[[Tensor, torch.Generator], Tensor]
Objective = Callable[[nn.Module, Examples], Tensor]

EVALUATION_ROWS = 1000


class Trainer:
    """One training run of one network, whose weights it changes in place, on the device where they are.

    Within a process group every rank makes a Trainer of the same arguments; the network starts from rank 0's weights.

    Args:
        network: maps (n, ...) to logits (n, classes); its parameters are initialised already.
        training: what is learnt from.
        development: for early stopping only.
        objective: the loss, a mean over the rows of a batch, which know their place in `training`; None takes the
            cross entropy. Among several ranks it is called with a wrapper that can be called as the network can.
        augment: distorts the first input of a batch; None leaves it alone.
        after_step: called after each change of the weights, to hold masks, shared values or ranges.
        checkpoint: written after each epoch and in between; if it is there at the start, training goes on from it.

    Raises:
        ValueError: there are no rows to train on, or none to stop by.
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
        checkpoint: Checkpoint | Path | None = None,
    ) -> None:
        if not len(training) or not len(development):
            raise ValueError(f"Training takes rows, and there are {len(training)}, {len(development)} to stop by.")
        self._network = network
        self._training, self._development = training, development
        self._settings = settings
        self._objective = objective or cross_entropy(settings.label_smoothing)
        self._augment = augment
        self._after_step = after_step
        self._ranks = Ranks.current()
        self._callable = self._ranks.wrap(network)
        self._device = next(network.parameters()).device
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._optimizer = optimizer(network.parameters(), settings)
        steps = settings.epochs * -(-len(training) // settings.batch_rows)
        self._schedule = schedule(self._optimizer, settings, steps)
        self._position = Position()
        kept = Checkpoint(checkpoint) if isinstance(checkpoint, Path) else checkpoint
        moving = Moving(network, self._optimizer, self._schedule, self._generator)
        self._resumption = Resumption(kept, moving, self._ranks)

    def run(
        self, on_epoch: Callable[[Epoch], None] = lambda _: None, on_step: Callable[[Step], None] = lambda _: None
    ) -> tuple[Epoch, ...]:
        """Trains to the end, leaves the best epoch's weights in the network, in eval mode, and gives all epochs.

        SIGINT and SIGTERM let the step end and the checkpoint be written.

        Args:
            on_epoch: called after each epoch, and once for each one that a checkpoint already holds.
            on_step: called after each step.

        Raises:
            KeyboardInterrupt: a signal asked for the end.
            BadCheckpoint: the checkpoint is of a run with other settings, network, data or processes, or was damaged.
            ArithmeticError: the loss, or that of the development set, became NaN or infinite.
        """
        if self._ranks.rank:
            torch.manual_seed(torch.initial_seed() + self._ranks.rank)
        self._position = self._resumption.resume(self._settings, self._training, self._development)
        for epoch in self._position.history:
            on_epoch(epoch)
        with interruption() as stop, distributed.global_statistics(self._network, self._ranks):
            while len(self._position.history) < self._settings.epochs and not self._out_of_patience():
                epoch = self._epoch(stop, on_step)
                self._resumption.save(self._position)
                on_epoch(epoch)
        self._network.load_state_dict(self._position.best)
        self._network.eval()
        return tuple(self._position.history)

    def _epoch(self, stop: Interruption, on_step: Callable[[Step], None]) -> Epoch:
        at = self._position
        number = len(at.history) + 1
        if at.order is None:
            at.order = torch.randperm(len(self._training), generator=self._generator)
        self._network.train()
        batches = at.order.split(self._settings.batch_rows)
        for rows in batches[at.steps :]:
            loss, asked = self._step(rows, stop)
            _assert_finite("loss", loss, number)
            at.steps += 1
            at.total += loss
            on_step(Step(number, at.steps, len(batches), loss / len(rows)))
            self._leave_or_save(asked)
        epoch = self._judge(number)
        if epoch.best:
            at.best = {name: value.clone() for name, value in self._network.state_dict().items()}
        at.close(epoch)
        return epoch

    def _step(self, rows: Tensor, stop: Interruption) -> tuple[float, Asked]:
        """One change of the weights: the loss summed over the rows of all ranks, and what any rank was asked for."""
        own = self._own(rows)
        loss = self._objective(self._callable, own) if len(own) else distributed.nothing(self._callable, own.inputs)
        value = loss.item() * len(own)
        loss = loss * self._ranks.weight(len(own), len(rows))
        if self._settings.l1:
            loss = loss + self._settings.l1 * sum(w.abs().sum() for w in self._network.parameters() if w.ndim > 1)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        if self._settings.max_grad_norm:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()
        self._after_step()
        due = self._resumption.due(self._position.steps + 1)
        total, stops, saves = self._ranks.total([value, stop.asked, due])
        return total, Asked(stops > 0, saves > 0)

    def _own(self, rows: Tensor) -> Examples:
        """This rank's share of a batch; all ranks draw the distortions of the whole batch, so they stay in step."""
        share = self._ranks.share(len(rows))
        if self._augment is None:
            return self._training.take(rows[share]).to(self._device)
        batch = self._training.take(rows)
        first, *others = batch.inputs
        batch = replace(batch, inputs=(self._augment(first, self._generator), *others))
        return batch.part(share).to(self._device)

    def _leave_or_save(self, asked: Asked) -> None:
        if asked.stop or asked.save:
            self._resumption.save(self._position)
        if asked.stop:
            raise KeyboardInterrupt

    @torch.no_grad()
    def _judge(self, number: int) -> Epoch:
        """The epoch that ends, on the development set, of which each rank takes its share."""
        self._network.eval()
        loss, hits = 0.0, 0
        n = len(self._development)
        for rows in torch.arange(n)[self._ranks.share(n)].split(EVALUATION_ROWS):
            part = self._development.take(rows).to(self._device)
            logits = self._network(*part.inputs)
            loss += functional.cross_entropy(logits, part.labels, reduction="sum").item()
            hits += int((logits.argmax(1) == part.labels).sum())
        loss, right = self._ranks.total([loss, hits])
        _assert_finite("development loss", loss, number)
        best = loss / n < min((epoch.development_loss for epoch in self._position.history), default=float("inf"))
        return Epoch(number, self._position.total / len(self._training), loss / n, right / n, best)

    def _out_of_patience(self) -> bool:
        since = next((i for i, epoch in enumerate(reversed(self._position.history)) if epoch.best), 0)
        return since >= self._settings.patience


def _assert_finite(what: str, loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise ArithmeticError(f"Training diverged in epoch {epoch}: its {what} is {loss}.")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for during a step."""

    stop: bool
    save: bool


def cross_entropy(label_smoothing: float = 0.0) -> Objective:
    """The mean cross entropy of the network's logits."""

    def objective(network: nn.Module, batch: Examples) -> Tensor:
        return functional.cross_entropy(network(*batch.inputs), batch.labels, label_smoothing=label_smoothing)

    return objective
