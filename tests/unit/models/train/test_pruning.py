"""Pruning while learning: the smallest go, the rest stays, and no step brings anything back."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from models.train.pruning import density, hold, prune  # noqa: E402


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))


def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(1)
    loss = functional.cross_entropy(network(torch.randn(16, 20, generator=generator)), torch.arange(16) % 4)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


@pytest.mark.parametrize(("share", "kept"), [(1.0, 600), (0.5, 300), (0.1, 60), (0.001, 1)])
def test_the_share_that_is_asked_for_is_kept_and_it_is_the_largest(network: nn.Module, share: float, kept: int) -> None:
    before = network[0].weight.detach().clone()
    prune(network, {"0.weight": share})
    after = network[0].weight.detach()
    left = after != 0
    assert int(left.sum()) == kept
    assert torch.equal(after[left], before[left])
    if kept < 600:
        assert before[left].abs().min() >= before[~left].abs().max()


def test_what_is_not_named_stays_as_it_is(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    prune(network, {"0.weight": 0.2})
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name != "0.weight")


def test_of_equal_weights_the_first_are_kept() -> None:
    network = nn.Linear(6, 1, bias=False)
    nn.init.ones_(network.weight)
    prune(network, {"weight": 0.5})
    assert network.weight.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_zeros_are_plain_zeros_that_a_codec_sees_as_one_value(network: nn.Module) -> None:
    prune(network, {"0.weight": 0.3})
    zeros = network[0].weight.detach()[network[0].weight == 0]
    assert not bool(torch.signbit(zeros).any())


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(network: nn.Module, share: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        prune(network, {"0.weight": share})


def test_a_weight_that_is_not_there_is_refused(network: nn.Module) -> None:
    with pytest.raises(KeyError, match=r"7\.weight"):
        prune(network, {"7.weight": 0.5})


def test_the_hook_holds_zeros_through_steps_of_any_optimiser(network: nn.Module) -> None:
    prune(network, {"0.weight": 0.2, "2.weight": 0.5})
    zeros = [weight == 0 for weight in network.parameters()]
    after_step = hold(network)
    before = network[0].weight.detach().clone()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    for _ in range(5):
        step(network, optimizer)
        after_step()
    assert all(bool((weight[mask] == 0).all()) for weight, mask in zip(network.parameters(), zeros, strict=True))
    assert not torch.equal(network[0].weight, before)


def test_negative_control_without_the_hook_the_optimiser_brings_weights_back(network: nn.Module) -> None:
    prune(network, {"0.weight": 0.2})
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(5):
        step(network, optimizer)
    assert int((network[0].weight == 0).sum()) < 400


def test_density_counts_all_parameters(network: nn.Module) -> None:
    total = 600 + 30 + 120 + 4
    assert density(network) == 1.0
    prune(network, {"0.weight": 0.5})
    assert density(network) == pytest.approx((total - 300) / total)
