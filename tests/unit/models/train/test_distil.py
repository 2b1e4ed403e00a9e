"""Distillation: the loss is the paper's, the teacher is never trained, and answers given before serve as well."""

import math

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.distil import cached_distillation, distillation, mixed_loss  # noqa: E402
from models.train.evaluation import evaluate, logits  # noqa: E402
from models.train.examples import Examples  # noqa: E402
from models.train.loop import Trainer, TrainSettings, cross_entropy  # noqa: E402
from models.train.networks import reproducible  # noqa: E402

SETTINGS = TrainSettings(epochs=4, batch_rows=16, learning_rate=0.02, patience=4, seed=3)


def rings(n: int, seed: int) -> Examples:
    """Points inside and outside a circle."""
    points = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return Examples((points,), (points.norm(dim=1) > 1.18).long())


def network(width: int, seed: int, dropout: float = 0.0):  # type: ignore[no-untyped-def]
    reproducible(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(2, width), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(width, 2)
    )


def state(net):  # type: ignore[no-untyped-def]
    return torch.cat([value.flatten() for value in net.state_dict().values()])


def test_the_loss_is_the_papers_by_hand() -> None:
    student, teacher, temperature, share = [1.0, -1.0], [3.0, 0.0], 2.0, 0.25

    def softmax(values: list[float], at: float) -> list[float]:
        powers = [math.exp(value / at) for value in values]
        return [power / sum(powers) for power in powers]

    p, q = softmax(teacher, temperature), softmax(student, temperature)
    kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = share * temperature**2 * kl - (1 - share) * math.log(softmax(student, 1.0)[1])
    found = mixed_loss(torch.tensor([student]), torch.tensor([teacher]), torch.tensor([1]), temperature, share)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_hardly_depends_on_a_high_temperature() -> None:
    """Section 2.1: with T^2 in front it nears (student - teacher) / classes, of logits around 0."""
    teacher = torch.tensor([[0.3, -0.3]])
    gradients = []
    for temperature in (20.0, 40.0):
        student = torch.tensor([[0.1, -0.1]], requires_grad=True)
        torch.autograd.backward(mixed_loss(student, teacher, torch.tensor([0]), temperature, 1.0))
        gradients.append(student.grad)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3)
    assert torch.allclose(gradients[0], (torch.tensor([[0.1, -0.1]]) - teacher) / 2, rtol=1e-3)


def test_without_a_share_of_the_teacher_it_is_the_cross_entropy() -> None:
    student, batch = network(8, 1), rings(20, 0)
    found = distillation(network(8, 2), 3.0, 0.0)(student, batch)
    assert found.item() == pytest.approx(cross_entropy()(student, batch).item())


def test_the_teacher_is_in_eval_mode_at_each_call_and_is_not_trained() -> None:
    teacher = network(8, 1, dropout=0.5)
    before = state(teacher).clone()
    objective = distillation(teacher, 2.0, 0.5)
    seen: list[bool] = []
    teacher.register_forward_hook(lambda module, *_: seen.append(module.training or torch.is_grad_enabled()))
    teacher.train()
    Trainer(network(4, 2), rings(64, 0), rings(32, 1), SETTINGS, objective=objective, after_step=teacher.train).run()
    assert len(seen) == 16
    assert not any(seen)
    assert torch.equal(state(teacher), before)
    assert all(weight.grad is None for weight in teacher.parameters())


def test_a_student_learns_from_a_teacher_without_labels() -> None:
    teacher = network(64, 1)
    settings = TrainSettings(epochs=30, batch_rows=32, learning_rate=0.02, patience=30)
    Trainer(teacher, rings(400, 0), rings(200, 1), settings).run()
    blind = Examples(rings(400, 2).inputs, torch.zeros(400, dtype=torch.int64))
    student = network(16, 3)
    Trainer(student, blind, rings(200, 1), settings, objective=distillation(teacher, 2.0, 1.0)).run()
    assert evaluate(teacher, rings(500, 9)).accuracy > 0.93
    assert evaluate(student, rings(500, 9)).accuracy > 0.9


def test_answers_given_before_train_the_same_student() -> None:
    """To rounding: a matrix product of 96 rows at once adds up in another order."""
    teacher, training = network(16, 1), rings(96, 0)
    students = [network(4, 2), network(4, 2)]
    objectives = (distillation(teacher, 2.0, 0.7), cached_distillation(logits(teacher, training), 2.0, 0.7))
    for student, objective in zip(students, objectives, strict=True):
        Trainer(student, training, rings(32, 1), SETTINGS, objective=objective).run()
    assert torch.allclose(state(students[0]), state(students[1]), atol=1e-5)


def test_negative_control_answers_of_other_rows_train_another_student() -> None:
    teacher, training = network(16, 1), rings(96, 0)
    told = logits(teacher, training)
    students = [network(4, 2), network(4, 2)]
    for student, answers in zip(students, (told, told.roll(1, 0)), strict=True):
        Trainer(student, training, rings(32, 1), SETTINGS, objective=cached_distillation(answers, 2.0, 0.7)).run()
    assert not torch.allclose(state(students[0]), state(students[1]), atol=1e-3)


def test_a_batch_that_does_not_know_its_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="does not know which rows"):
        cached_distillation(torch.zeros(20, 2), 2.0, 0.5)(network(4, 2), rings(20, 0))


@pytest.mark.parametrize(("temperature", "share", "sentence"), [(0.0, 0.5, "above 0"), (2.0, 1.5, "between 0 and 1")])
def test_senseless_arguments_are_refused(temperature: float, share: float, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        distillation(network(4, 1), temperature, share)
    with pytest.raises(ValueError, match=sentence):
        cached_distillation(torch.zeros(1, 2), temperature, share)


def test_a_teacher_that_is_the_student_is_refused() -> None:
    student = network(4, 1)
    with pytest.raises(ValueError, match="must be a copy"):
        distillation(student, 2.0, 0.5)(student, rings(20, 0))
