"""Roundings in a network: where they are put, what they do to values and to gradients, and how little to answers."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.examples import Examples  # noqa: E402
from models.train.networks import DigitsNet, reproducible  # noqa: E402
from models.train.qat import RoundedWeights, Rounding, prepare  # noqa: E402

nn = torch.nn


def images(n: int = 20, seed: int = 0) -> Examples:
    values = torch.randint(0, 17, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).float()
    return Examples((values,), torch.arange(n) % 10)


def digits_net(width: int = 4):  # type: ignore[no-untyped-def]
    reproducible(0)
    network = DigitsNet(width)
    network.train()(*images(100, 5).inputs)  # moves the running statistics off their start
    return network.eval()


class Residual(nn.Module):
    """A block as in a ResNet: the sum's two branches must both be rounded for an integer kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 10)

    def forward(self, image):  # type: ignore[no-untyped-def]
        start = torch.relu(self.norm(self.first(image)))
        together = torch.relu(self.second(start) + start)
        return self.head(together.mean((2, 3)))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.0, 5.0), (-2.0, 0.0)])
def test_an_unsigned_range_holds_0_exactly_and_errs_by_half_a_step(low: float, high: float) -> None:
    rounding = Rounding("cpu").train()
    values = torch.linspace(low, high, 1001)
    rounding(values)
    scale, zero = rounding.eval().scale()
    assert scale.item() == pytest.approx((high - low) / 255)
    assert 0 <= zero.item() <= 255
    assert rounding(torch.zeros(1)).item() == 0
    inside = values[(values > low + scale) & (values < high - scale)]
    assert (rounding(inside) - inside).abs().max() <= 0.5001 * scale
    assert len(rounding(values).unique()) <= 256


def test_a_symmetric_range_has_no_zero_point() -> None:
    rounding = Rounding("tensorrt").train()
    rounding(torch.tensor([-1.0, 4.0]))
    scale, zero = rounding.scale()
    assert (scale.item(), zero.item(), rounding.bounds) == (pytest.approx(4 / 127), 0, (-128, 127))


def test_gradients_pass_straight_through_inside_the_range_and_stop_outside() -> None:
    """Bengio et al. 2013; Jacob et al. 2018, section 3."""
    rounding = Rounding("cpu").train()
    rounding(torch.tensor([-1.0, 1.0]))
    values = torch.tensor([-3.0, -0.5, 0.123, 0.9, 2.0], requires_grad=True)
    torch.autograd.backward(rounding.eval()(values).sum())
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


def test_the_range_is_set_by_the_first_batch_moves_slowly_and_rests_in_eval_mode() -> None:
    rounding = Rounding("cpu", momentum=0.25).train()
    rounding(torch.tensor([-1.0, 2.0]))
    assert (rounding.low.item(), rounding.high.item()) == (-1, 2)
    rounding(torch.tensor([-3.0, 6.0]))
    assert (rounding.low.item(), rounding.high.item()) == (-1.5, 3)
    rounding.eval()(torch.tensor([-90.0, 90.0]))
    assert (rounding.low.item(), rounding.high.item()) == (-1.5, 3)


def test_a_range_of_nothing_but_zeros_divides_by_no_zero() -> None:
    for form in ("cpu", "tensorrt"):
        assert Rounding(form).train()(torch.zeros(4)).tolist() == [0, 0, 0, 0]


def test_weights_have_a_scale_for_each_output_channel() -> None:
    layer = nn.Linear(50, 3, bias=False)
    with torch.no_grad():
        layer.weight *= torch.tensor([[1.0], [100.0], [0.0]])
    rounded = RoundedWeights(layer, "rounding_0")
    scale = rounded.scale()
    assert scale[:2].tolist() == pytest.approx([(layer.weight[row].abs().max() / 127).item() for row in (0, 1)])
    seen = rounded(torch.eye(50)).T
    assert ((seen - layer.weight).abs() <= 0.5001 * scale[:, None]).all()
    assert seen[2].abs().max() == 0


def test_roundings_stand_where_the_runtime_wants_them() -> None:
    """At the image and behind each ReLU that a layer reads from; not behind MaxPool or Dropout, not at the logits."""
    prepared = prepare(digits_net(), images())
    assert len([part for part in prepared.modules() if isinstance(part, Rounding)]) == 5
    assert len([part for part in prepared.modules() if isinstance(part, RoundedWeights)]) == 5
    assert not [part for part in prepared.modules() if isinstance(part, nn.BatchNorm2d)]
    before = {str(node.args[0].target) for node in prepared.graph.nodes if str(node.target).startswith("rounding_")}
    assert {"features.2", "features.5", "features.9", "classifier.2"} < before
    assert len(before) == 5


def test_both_branches_of_a_sum_are_rounded() -> None:
    prepared = prepare(Residual(), images())
    add = next(node for node in prepared.graph.nodes if "add" in node.name)
    assert all(str(one.target).startswith("rounding_") for one in add.args)


@pytest.mark.parametrize("form", ["cpu", "tensorrt"])
@pytest.mark.parametrize("make", [digits_net, Residual])
def test_a_prepared_network_answers_nearly_as_before(make, form: str) -> None:  # type: ignore[no-untyped-def]
    network = make().eval()
    prepared = prepare(network, images(100), form)  # type: ignore[arg-type]
    own, theirs = prepared(*images(100).inputs), network(*images(100).inputs)
    assert 0 < (own - theirs).abs().max() < 0.05 * theirs.abs().max()


def test_the_network_given_is_left_alone() -> None:
    network = digits_net()
    names, state = (
        [name for name, _ in network.named_modules()],
        {k: v.clone() for k, v in network.state_dict().items()},
    )
    prepare(network, images())
    assert [name for name, _ in network.named_modules()] == names
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_negative_control_without_calibration_the_answers_are_far_off() -> None:
    network = digits_net()
    prepared = prepare(network, images())
    for part in prepared.modules():
        if isinstance(part, Rounding):
            part.high.fill_(1e-3)
    own, theirs = prepared(*images().inputs), network(*images().inputs)
    assert (own - theirs).abs().max() > 0.05 * theirs.abs().max()


def test_a_network_without_layers_and_one_that_cannot_be_traced_are_refused() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, values):  # type: ignore[no-untyped-def]
            return self.layer(values) if values.sum() > 0 else values

    some = Examples((torch.zeros(2, 4),), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="no Conv2d and no Linear"):
        prepare(nn.Sequential(nn.ReLU()), some)
    with pytest.raises(ValueError, match="cannot be traced"):
        prepare(Branches(), some)
