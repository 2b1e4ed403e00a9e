"""Optimisers, regularisation, schedules and clipping do what their names say, held against the formulas."""

import itertools
import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.examples import Examples  # noqa: E402
from models.train.loop import Trainer, TrainSettings  # noqa: E402
from models.train.settings import optimizer, schedule  # noqa: E402

SGD = TrainSettings(
    epochs=20, batch_rows=32, learning_rate=0.05, weight_decay=0.0, label_smoothing=0.0, patience=20, optimizer="sgd"
)


def quadratic(settings: TrainSettings, steps: int) -> list[float]:
    """Where f(x) = x^2 / 2 takes x from 1."""
    x = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    method = optimizer([x], settings)
    found = []
    for _ in range(steps):
        method.zero_grad()
        torch.autograd.backward(x**2 / 2)
        method.step()
        found.append(x.item())
    return found


def test_sgd_is_nesterovs_formula() -> None:
    """v <- m v + g; x <- x - rate (g + m v), the form of Sutskever et al. 2013 that torch documents."""
    rate, momentum, x, v, expected = 0.1, 0.9, 1.0, 0.0, []
    for _ in range(10):
        v = momentum * v + x
        x -= rate * (x + momentum * v)
        expected.append(x)
    assert quadratic(replace(SGD, learning_rate=rate, momentum=momentum), 10) == pytest.approx(expected)


def test_negative_control_plain_momentum_takes_another_way() -> None:
    rate, momentum, x, v = 0.1, 0.9, 1.0, 0.0
    for _ in range(10):
        v = momentum * v + x
        x -= rate * v
    assert quadratic(replace(SGD, learning_rate=rate, momentum=momentum), 10)[-1] != pytest.approx(x, abs=1e-3)


def test_sgd_without_momentum_is_the_gradient() -> None:
    assert quadratic(replace(SGD, learning_rate=0.1, momentum=0.0), 5)[-1] == pytest.approx(0.9**5)


def test_adam_takes_steps_of_the_learning_rate_at_first() -> None:
    """Kingma and Ba 2015: the first step is rate * g / |g|."""
    assert quadratic(replace(SGD, optimizer="adam", learning_rate=0.01), 1)[0] == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize(("name", "coupled"), [("adam", True), ("adamw", False)])
def test_weight_decay_is_apart_from_the_gradient_in_adamw_alone(name: str, coupled: bool) -> None:
    """Without a gradient AdamW shrinks by rate * decay; Adam takes the decay for a gradient, a full step."""
    x = torch.nn.Parameter(torch.tensor(1.0))
    method = optimizer([x], replace(SGD, optimizer=name, learning_rate=0.01, weight_decay=0.1))  # type: ignore[arg-type]
    x.grad = torch.tensor(0.0)
    method.step()
    assert x.item() == pytest.approx(0.99 if coupled else 1 - 0.01 * 0.1, abs=1e-5)


def noisy(n: int, seed: int) -> Examples:
    """Two of twenty inputs decide."""
    inputs = torch.randn(n, 20, generator=torch.Generator().manual_seed(seed))
    return Examples((inputs,), (inputs[:, 0] + inputs[:, 1] > 0).long())


def trained(settings: TrainSettings):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = torch.nn.Linear(20, 2)
    Trainer(network, noisy(256, 0), noisy(128, 1), settings).run()
    return network.weight.detach()


@pytest.fixture(scope="module")
def plain():  # type: ignore[no-untyped-def]
    return trained(SGD)


def test_l1_makes_what_does_not_decide_nearly_zero(plain) -> None:  # type: ignore[no-untyped-def]
    sparse = trained(replace(SGD, l1=0.02))
    small = 0.02
    assert (sparse[:, 2:].abs() < small).float().mean() > 0.8
    assert (plain[:, 2:].abs() < small).float().mean() < 0.3
    assert sparse[:, :2].abs().min() > 10 * small


def test_l2_shrinks_all(plain) -> None:  # type: ignore[no-untyped-def]
    shrunk = trained(replace(SGD, weight_decay=0.1))
    assert shrunk.norm() < 0.6 * plain.norm()
    assert (shrunk[:, 2:].abs() < 0.002).float().mean() < 0.3  # small, and not sparse


def test_clipping_scales_the_gradient_of_a_step_to_the_norm() -> None:
    """Without momentum a step's length is rate times the norm of its gradient."""
    lengths: dict[float, list[float]] = {}
    for most in (0.0, 0.01):
        torch.manual_seed(0)
        network = torch.nn.Linear(20, 2)
        before = [torch.cat([w.detach().flatten().clone() for w in network.parameters()])]
        found = lengths.setdefault(most, [])

        def after_step(network=network, before=before, found=found) -> None:  # type: ignore[no-untyped-def]
            now = torch.cat([w.detach().flatten().clone() for w in network.parameters()])
            found.append((now - before[0]).norm().item())
            before[0] = now

        settings = replace(SGD, epochs=1, momentum=0.0, schedule="constant", max_grad_norm=most)
        Trainer(network, noisy(128, 0), noisy(64, 1), settings, after_step=after_step).run()
    assert lengths[0.01] == pytest.approx([0.05 * 0.01] * 4, rel=1e-3)
    assert min(lengths[0.0]) > 10 * max(lengths[0.01])


def rates(name: str, steps: int = 100) -> list[float]:
    settings = replace(SGD, schedule=name, learning_rate=0.4)  # type: ignore[arg-type]
    method = optimizer([torch.nn.Parameter(torch.zeros(1))], settings)
    follows = schedule(method, settings, steps)
    found = []
    for _ in range(steps):
        found.append(method.param_groups[0]["lr"])
        method.step()
        follows.step()
    return found


def test_schedules() -> None:
    constant, cosine, cycle = rates("constant"), rates("cosine"), rates("one-cycle")
    assert set(constant) == {0.4}
    assert cosine == pytest.approx([0.2 * (1 + math.cos(math.pi * at / 100)) for at in range(100)])
    top = cycle.index(max(cycle))
    assert 25 < top < 35
    assert max(cycle) == pytest.approx(0.4)
    assert cycle[0] == pytest.approx(0.4 / 25)
    assert cycle[-1] < 1e-4
    assert all(a < b for a, b in itertools.pairwise(cycle[:top]))


def test_a_card_leaves_out_what_is_newer_than_it_and_as_it_was() -> None:
    assert set(TrainSettings().arguments()) == {
        "epochs", "batch_rows", "learning_rate", "weight_decay", "label_smoothing", "patience", "seed",
    }  # fmt: skip
    assert replace(TrainSettings(), l1=0.1, optimizer="sgd").arguments() | {"l1": 0.1, "optimizer": "sgd"} == (
        TrainSettings(l1=0.1, optimizer="sgd").arguments()
    )


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 0), ("batch_rows", 0), ("patience", 0), ("learning_rate", 0.0), ("epochs", -1)]
)
def test_settings_that_train_nothing_are_refused(name: str, value: float) -> None:
    """With patience 0 not one epoch would run, and the end would be a missing state."""
    with pytest.raises(ValueError, match=f"{name} must be .*, not {value}"):
        TrainSettings(**{name: value})
