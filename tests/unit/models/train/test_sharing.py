"""Trained quantisation: few values, zeros stay, and what moves a value is the sum over the weights that take it."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.train.export import export  # noqa: E402
from models.train.pruning import prune  # noqa: E402
from models.train.sharing import settle, share  # noqa: E402


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    made = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    prune(made, {"0.weight": 0.3})
    return made


def loss(network: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return functional.cross_entropy(network(torch.randn(16, 20, generator=generator)), torch.arange(16) % 4)


def distinct(weight: torch.Tensor) -> int:
    return len(weight.detach().unique())


def test_a_layer_is_left_with_the_values_asked_for_and_its_zeros(network: nn.Module) -> None:
    zeros = network[0].weight == 0
    share(network, {"0": 7})
    assert distinct(network[0].weight) == 8
    assert torch.equal(network[0].weight == 0, zeros)
    assert distinct(network[2].weight) == 120


def test_shared_values_are_near_what_they_stand_for(network: nn.Module) -> None:
    before = network[0].weight.detach().clone()
    share(network, {"0": 31})
    assert (network[0].weight - before).abs().max() < 0.02


def test_the_gradient_of_a_value_is_the_sum_of_its_weights_gradients(network: nn.Module) -> None:
    """Equation 3 of the paper, against the gradients of a plain network with the same weights."""
    share(network, {"0": 7})
    plain = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    plain.load_state_dict(
        {f"{at}.{kind}": getattr(network[at], kind).detach() for at in (0, 2) for kind in ("weight", "bias")}
    )
    torch.autograd.backward(loss(network))
    torch.autograd.backward(loss(plain))
    codebook = network[0].parametrizations.weight.original
    for value, gradient in zip(codebook.detach(), codebook.grad, strict=True):
        summed = plain[0].weight.grad[plain[0].weight == value].sum().item()
        assert gradient == pytest.approx(summed, rel=1e-4, abs=1e-7)


def test_training_moves_the_values_and_neither_their_number_nor_the_zeros(network: nn.Module) -> None:
    zeros = network[0].weight == 0
    share(network, {"0": 7})
    before, first = network[0].weight.detach().clone(), loss(network).item()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        torch.autograd.backward(loss(network))
        optimizer.step()
    assert loss(network).item() < first
    assert not torch.equal(network[0].weight, before)
    assert distinct(network[0].weight) == 8
    assert torch.equal(network[0].weight == 0, zeros)


def test_a_settled_network_is_plain_again_and_answers_the_same(network: nn.Module) -> None:
    share(network, {"0": 7, "2": 7})
    torch.autograd.backward(loss(network))
    before = loss(network).item()
    settle(network)
    assert set(network.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert loss(network).item() == before
    assert distinct(network[0].weight) == 8


def test_a_settled_network_can_be_exported_after_it_was_trained(network: nn.Module) -> None:
    """The codebook's gradient has another shape than the weight; left on the weight it made the exporter fail."""
    share(network, {"0": 7})
    torch.autograd.backward(loss(network))
    settle(network)
    assert network[0].weight.grad is None
    assert export(network, torch.zeros(2, 20), input_name="x", output_name="y")


def test_negative_control_plain_training_spreads_the_values(network: nn.Module) -> None:
    share(network, {"0": 7})
    settle(network)
    torch.autograd.backward(loss(network))
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert distinct(network[0].weight) > 100


def test_a_module_that_is_not_there_is_refused(network: nn.Module) -> None:
    with pytest.raises(KeyError):
        share(network, {"5": 7})
