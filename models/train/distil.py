"""Distillation: a student learns from a teacher's answers as well as from the labels.

    Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531)

Among several ranks each has a teacher of its own, which is never trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.train.examples import Examples
from models.train.loop import Objective


def distillation(teacher: nn.Module, temperature: float, share: float) -> Objective:
    """The loss share * T^2 * KL(teacher at T || student at T) + (1 - share) * cross entropy with the labels.

    The factor T^2 keeps the two parts' gradients in proportion when T changes (section 2 of the paper).

    Args:
        teacher: called with the same inputs as the student; put into eval mode at each call, and never trained.
        temperature: T, above 0; higher ones tell more of the classes that the teacher does not choose.
        share: of the teacher, 0 to 1.

    Raises:
        ValueError: temperature or share are out of range; when called, that teacher and student share weights.
    """
    _check(temperature, share)

    def objective(network: nn.Module, batch: Examples) -> Tensor:
        _assert_apart(teacher, network)
        teacher.eval()
        with torch.no_grad():
            told = teacher(*batch.inputs)
        return mixed_loss(network(*batch.inputs), told, batch.labels, temperature, share)

    return objective


def cached_distillation(told: Tensor, temperature: float, share: float) -> Objective:
    """`distillation` by answers that the teacher gave before, once: the teacher is then not run at each step.

    For training without augmentation; with it the answers would be those of other inputs.

    Args:
        told: `evaluation.logits` of the teacher on the training set, (n, classes).
        temperature: as for `distillation`.
        share: as for `distillation`.

    Raises:
        ValueError: temperature or share are out of range; when called, that the batch does not know its rows.
    """
    _check(temperature, share)

    def objective(network: nn.Module, batch: Examples) -> Tensor:
        if batch.rows is None:
            raise ValueError("The batch does not know which rows of the training set it holds.")
        own = told[batch.rows.to(told.device)].to(batch.labels.device)
        return mixed_loss(network(*batch.inputs), own, batch.labels, temperature, share)

    return objective


def mixed_loss(logits: Tensor, told: Tensor, labels: Tensor, temperature: float, share: float) -> Tensor:
    """The loss of `distillation`, of student's and teacher's logits (n, classes)."""
    soft = functional.kl_div(
        functional.log_softmax(logits / temperature, 1),
        functional.log_softmax(told / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return share * temperature**2 * soft + (1 - share) * functional.cross_entropy(logits, labels)


def _check(temperature: float, share: float) -> None:
    if not temperature > 0:
        raise ValueError(f"A temperature must be above 0, not {temperature}.")
    if not 0 <= share <= 1:
        raise ValueError(f"The teacher's share must be between 0 and 1, not {share}.")


def _assert_apart(teacher: nn.Module, student: nn.Module) -> None:
    ours = {id(weight) for weight in student.parameters()}
    if any(id(weight) in ours for weight in teacher.parameters()):
        raise ValueError("Teacher and student share weights; the teacher must be a copy.")
