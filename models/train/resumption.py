"""Saves a training run and goes on from what was saved: the weights then end as if nothing had happened, to the bit.

Of several ranks only rank 0 writes; what differs from rank to rank is gathered first. A checkpoint of a run with other
settings, another network, other data or another number of processes is refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.train import checkpoint as files
from models.train.checkpoint import BadCheckpoint, Checkpoint
from models.train.distributed import Ranks
from models.train.examples import Examples
from models.train.progress import Position
from models.train.settings import TrainSettings

_REASONS = {
    "settings": "with other settings",
    "network": "for another network",
    "data": "on other data",
    "processes": "by another number of processes",
}


@dataclass(frozen=True, slots=True)
class Moving:
    """What changes while a run goes on, beside its position."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator

    def state(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """From what `state` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])


class Resumption:
    """Of one run; its checkpoint may be None, and then it does nothing.

    Args:
        checkpoint: where and how often.
        moving: what is saved.
        ranks: those that train together.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        moving: Moving,
        ranks: Ranks,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checkpoint = checkpoint
        self._moving, self._ranks, self._now_s = moving, ranks, now_s
        self._device = next(moving.network.parameters()).device
        self._identity: dict[str, Any] = {}
        self._saved_s = now_s()

    def resume(self, settings: TrainSettings, training: Examples, development: Examples) -> Position:
        """Where the run stands: at the start, or where the checkpoint left it.

        Raises:
            BadCheckpoint: the file was damaged, or is another run's.
        """
        if self._checkpoint is None:
            return Position()
        self._identity = {
            "settings": asdict(settings),
            "network": _shape_of(self._moving.network),
            "data": f"{training.sha256()} {development.sha256()}",
            "processes": self._ranks.count,
        }
        path = self._checkpoint.path
        position = self._load(path) if path.exists() else Position()
        self._ranks.wait()  # before rank 0 writes the next one
        return position

    def due(self, steps: int) -> bool:
        """Whether rank 0 should save after this many steps of the epoch."""
        if self._checkpoint is None or self._ranks.rank:
            return False
        every = self._checkpoint.every_steps
        return (every > 0 and steps % every == 0) or self._now_s() - self._saved_s >= self._checkpoint.every_s

    def save(self, position: Position) -> None:
        """Writes the checkpoint; all ranks call it after the same step.

        Raises:
            OSError: the disk refused; the checkpoint before is still there.
        """
        if self._checkpoint is None:
            return
        drawn = [self._ranks.gather(state) for state in _random_states(self._device)]
        if self._ranks.rank == 0:
            moving, where = self._moving.state(), position.state()
            state = {"identity": self._identity, "moving": moving, "position": where, "random": drawn}
            files.write(self._checkpoint.path, state)
        self._saved_s = self._now_s()

    def _load(self, path: Path) -> Position:
        state = files.read(path)
        for name, value in self._identity.items():
            if state["identity"][name] != value:
                raise BadCheckpoint(f"{path.name} was written {_REASONS[name]}; remove it to start anew.")
        self._moving.load(state["moving"])
        _set_random_states([of_ranks[self._ranks.rank] for of_ranks in state["random"]], self._device)
        return Position.of(state["position"])


def _shape_of(network: nn.Module) -> str:
    told = [f"{name} {value.dtype} {tuple(value.shape)}" for name, value in network.state_dict().items()]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _random_states(device: torch.device) -> list[Tensor]:
    """Of the generators that dropout draws from."""
    on_gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_gpu]


def _set_random_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
