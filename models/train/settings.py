"""How to train: the settings that a recipe holds, and the optimiser and schedule that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import nn

# In cards from before these fields were there, they had the values that they have by default.
_LEFT_OUT_BY_DEFAULT = ("optimizer", "schedule", "momentum", "l1", "max_grad_norm")


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train; every field goes into the card.

    Attributes:
        epochs: at most.
        batch_rows: rows a step, over all processes together.
        weight_decay: L2 regularisation; decoupled from the gradient with AdamW (Loshchilov and Hutter 2019).
        label_smoothing: share of the target spread over the other classes.
        patience: epochs without a lower development loss after which training ends.
        momentum: of SGD, in Nesterov's form.
        schedule: of the learning rate over all steps.
        l1: weight of the sum of absolute weights in the loss; biases and normalisations are left out.
        max_grad_norm: gradients are scaled down to this norm; 0 leaves them alone.
    """

    epochs: int = 80
    batch_rows: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    patience: int = 20
    seed: int = 0
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    momentum: float = 0.9
    l1: float = 0.0
    max_grad_norm: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what would train nothing, or break off much later.

        Raises:
            ValueError: names the setting.
        """
        for name in ("epochs", "batch_rows", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}.")

    def arguments(self) -> dict[str, Any]:
        """As a card's step writes them."""
        defaults = {field.name: field.default for field in fields(self)}
        told = asdict(self).items()
        return {name: value for name, value in told if name not in _LEFT_OUT_BY_DEFAULT or value != defaults[name]}


def optimizer(parameters: Iterable[nn.Parameter], settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimiser that the settings name."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay, nesterov=nesterov)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    return kinds[settings.optimizer](parameters, lr=rate, weight_decay=decay)


def schedule(of: torch.optim.Optimizer, settings: TrainSettings, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate over `steps` steps in all."""
    if settings.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(of, max_lr=settings.learning_rate, total_steps=steps)
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(of, T_max=steps)
    return torch.optim.lr_scheduler.ConstantLR(of, factor=1.0)
