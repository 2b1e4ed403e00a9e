"""What the processes of the distributed tests run: entries for `launch`, and the small problems they train on."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.train import distributed
from models.train.checkpoint import Checkpoint
from models.train.distil import distillation
from models.train.distributed import Ranks
from models.train.examples import Examples
from models.train.loop import Trainer
from models.train.progress import Step
from models.train.settings import TrainSettings

SETTINGS = TrainSettings(
    epochs=1,
    batch_rows=12,
    learning_rate=0.05,
    weight_decay=0.0,
    optimizer="sgd",
    schedule="constant",
    patience=9,
    seed=3,
)


def clouds(n: int, seed: int) -> Examples:
    """Two overlapping clouds in four dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    return Examples((torch.randn(n, 4, generator=generator) + labels.unsqueeze(1),), labels)


def network(kind: str, seed: int = 3) -> nn.Module:
    """One of the networks: "plain", "norm" with batch normalisation, "dropout"."""
    torch.manual_seed(seed)
    between: dict[str, nn.Module] = {
        "plain": nn.Identity(),
        "norm": nn.BatchNorm1d(8),
        "dropout": nn.Dropout(0.3),
    }
    return nn.Sequential(nn.Linear(4, 8), between[kind], nn.Tanh(), nn.Linear(8, 2))


def train(
    folder: str,
    kind: str = "plain",
    rows: int = 103,
    epochs: int = 1,
    distil: bool = False,
    die_at: list[int] | None = None,
    weighted: bool = True,
    synchronised: bool = True,
) -> None:
    """Trains, notes the gradients of the first three steps and the weights at the end in `folder`.

    Args:
        folder: also keeps the checkpoint.
        kind: of network.
        rows: of training; 103 leaves a last batch of 7, which two ranks share unequally.
        epochs: of training.
        distil: from a teacher instead of from labels alone.
        die_at: epoch, step, rank and signal number.
        weighted: False plants the fault that shares of unequal size count alike.
        synchronised: False plants the fault that batch normalisation takes each rank's own statistics.
    """
    if not synchronised:
        distributed.global_statistics = lambda network, ranks: nullcontext()  # type: ignore[assignment, misc]
    if not weighted:
        Ranks.weight = lambda self, own, all_rows: 1.0  # type: ignore[method-assign]
    torch.set_num_threads(1)
    ranks = Ranks.current()
    student = network(kind).to(ranks.device)
    gradients: list[torch.Tensor] = []

    def after_step() -> None:
        gradients.append(torch.cat([w.grad.flatten().cpu() for w in student.parameters() if w.grad is not None]))

    def on_step(step: Step) -> None:
        if die_at is not None and [step.epoch, step.number, ranks.rank] == die_at[:3]:
            os.kill(os.getpid(), signal.Signals(die_at[3]))

    settings = TrainSettings(**{**_fields(SETTINGS), "epochs": epochs})
    trainer = Trainer(
        student,
        clouds(rows, 0),
        clouds(50, 1),
        settings,
        objective=distillation(network("plain", 9).to(ranks.device), temperature=2.0, share=0.7) if distil else None,
        after_step=after_step,
        checkpoint=Checkpoint(Path(folder) / f"run-of-{ranks.count}.pt", every_steps=2),
    )
    trainer.run(on_step=on_step)
    weights = {name: value.cpu().clone() for name, value in student.state_dict().items()}
    torch.save({"gradients": gradients, "weights": weights}, Path(folder) / f"rank-{ranks.rank}-of-{ranks.count}.pt")


def train_each(folder: str, cases: dict[str, dict[str, Any]]) -> None:
    """`train` for each case in a folder of its own, which is there: a name -> arguments."""
    for name, arguments in cases.items():
        train(str(Path(folder) / name), **arguments)


def fail(folder: str) -> None:
    """Rank 1 raises, rank 0 waits for it."""
    ranks = Ranks.current()
    if ranks.rank == 1:
        raise OSError(f"no data in {folder}")
    ranks.wait()


def hang(folder: str) -> None:
    """Rank 1 stops for good, rank 0 waits for it."""
    del folder
    ranks = Ranks.current()
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    ranks.wait()


def _fields(settings: TrainSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}
