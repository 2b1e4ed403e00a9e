"""Structured pruning: channels really go, coupled ones together, shapes stay, and a plan rebuilds the network."""

import json

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("torch_pruning", reason="torch-pruning comes with requirements/torch.txt")

from torch import nn  # noqa: E402

from models.train import prune_structured  # noqa: E402
from models.train.examples import Examples  # noqa: E402
from models.train.loop import Trainer, TrainSettings  # noqa: E402
from models.train.networks import DigitsNet, parameters, reproducible  # noqa: E402
from models.train.prune_structured import (  # noqa: E402
    NotPruned,
    Plan,
    PruneStructured,
    macs,
    prune_channels,
    rebuild,
)

DIGIT = torch.zeros(2, 1, 8, 8)
PICTURE = torch.zeros(2, 3, 8, 8)


class Residual(nn.Module):
    """A stem and two blocks on one trunk: the trunk's channels are coupled over two additions."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.first = _block(width)
        self.second = _block(width)
        self.head = nn.Linear(width, 10)

    def forward(self, image):  # type: ignore[no-untyped-def]
        trunk = torch.relu(self.stem(image))
        trunk = torch.relu(trunk + self.first(trunk))
        trunk = torch.relu(trunk + self.second(trunk))
        return self.head(trunk.mean((2, 3)))


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
    )


@pytest.fixture(autouse=True)
def seeded() -> None:
    reproducible(0)


def test_half_of_the_digits_networks_channels_go_and_its_answers_keep_their_shape() -> None:
    network = DigitsNet(16)
    pruned = prune_channels(network, DIGIT, PruneStructured(ratio=0.5, round_to=8))
    assert [pruned.network.features[i].out_channels for i in (0, 3, 7)] == [8, 16, 16]
    assert pruned.network.classifier[1].in_features == 16 * 4 * 4
    assert pruned.network.classifier[4].weight.shape == (10, 32)
    assert pruned.network(DIGIT).shape == (2, 10)
    assert (pruned.parameters, pruned.parameters_before) == (parameters(pruned.network), parameters(network))
    assert (pruned.macs, pruned.macs_before) == (macs(pruned.network, DIGIT), macs(network, DIGIT))
    assert pruned.macs < 0.3 * pruned.macs_before
    assert network.features[0].out_channels == 16, "the network that was given stays whole"


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("round_to", [4, 8])
def test_what_is_left_of_a_layer_is_a_multiple(scope: str, round_to: int) -> None:
    arguments = PruneStructured(ratio=0.4, scope=scope, round_to=round_to)  # type: ignore[arg-type]
    plan = prune_channels(DigitsNet(16), DIGIT, arguments).plan
    assert plan.kept
    assert all(len(kept) % round_to == 0 for kept in plan.kept.values())


def test_channels_coupled_over_additions_go_together() -> None:
    network = Residual()
    cut = prune_channels(network, PICTURE, PruneStructured(ratio=0.5)).network
    trunk = {cut.stem.out_channels, cut.first[3].out_channels, cut.second[3].out_channels}
    assert trunk == {8}
    assert (cut.first[0].in_channels, cut.second[4].num_features, cut.head.in_features) == (8, 8, 8)


def test_an_ignored_trunk_stays_and_the_insides_of_the_blocks_go() -> None:
    ignored = ("stem", "first.3", "second.3")
    cut = prune_channels(Residual(), PICTURE, PruneStructured(ratio=0.5, ignored=ignored)).network
    assert cut.stem.out_channels == cut.second[3].out_channels == cut.head.in_features == 16
    assert (cut.first[0].out_channels, cut.second[3].in_channels) == (8, 8)


def test_channels_of_no_weight_go_first_and_then_no_answer_changes() -> None:
    network = Residual().eval()
    with torch.no_grad():
        for block in (network.first, network.second):
            block[0].weight[::2] = 0
            block[1].weight[::2] = 0
            block[1].bias[::2] = 0
            block[3].weight[:, ::2] = 0
    pruned = prune_channels(network, PICTURE, PruneStructured(ratio=0.5, ignored=("stem", "first.3", "second.3")))
    assert pruned.plan.kept["first.0"] == pruned.plan.kept["second.0"] == tuple(range(1, 16, 2))
    images = torch.randn(4, 3, 8, 8)
    assert torch.allclose(pruned.network(images), network(images), atol=1e-5)


def test_taylor_importance_cuts_what_the_loss_does_not_feel() -> None:
    network = Residual()
    examples = Examples((torch.randn(64, 3, 8, 8),), torch.randint(0, 10, (64,)))
    with torch.no_grad():
        network.second[3].weight[:, 8:] = 0
        network.second[0].weight[8:] *= 100  # large and of no use: magnitude would keep them
    keep = ("stem", "first", "second.3")
    arguments = PruneStructured(ratio=0.5, importance="taylor", ignored=keep)
    assert prune_channels(network, PICTURE, arguments, examples).plan.kept["second.0"] == tuple(range(8))
    by_magnitude = prune_channels(network, PICTURE, PruneStructured(ratio=0.5, ignored=keep)).plan
    assert by_magnitude.kept["second.0"] != tuple(range(8))


def test_taylor_importance_without_examples_is_refused() -> None:
    with pytest.raises(NotPruned, match="needs examples"):
        prune_channels(Residual(), PICTURE, PruneStructured(importance="taylor"))


def test_a_checkpoint_is_rebuilt_from_the_plan_without_pickles() -> None:
    pruned = prune_channels(Residual(), PICTURE, PruneStructured(ratio=0.5))
    text = pruned.plan.to_json()
    assert json.loads(text)["kept"].keys() == pruned.plan.kept.keys()
    reproducible(1)
    again = rebuild(Residual(), PICTURE, Plan.from_json(text))
    again.load_state_dict(pruned.network.state_dict())
    images = torch.randn(4, 3, 8, 8)
    assert torch.equal(again(images), pruned.network(images))


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        ({"stem": (0, 99)}, "keeps channels .* of stem, which has 16"),
        ({"stem": ()}, "keeps channels .* of stem, which has 16"),
        ({"nowhere": (0,)}, "no layer 'nowhere'"),
    ],
)
def test_a_plan_of_another_network_is_refused(kept: dict[str, tuple[int, ...]], sentence: str) -> None:
    with pytest.raises(NotPruned, match=sentence):
        rebuild(Residual(), PICTURE, Plan(kept))


def test_without_the_output_layer_ignored_the_digits_would_be_five_and_that_is_caught(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(prune_structured, "_output_layer", lambda network, _: network.features[0])
    with pytest.raises(NotPruned, match=r"changed the output from \(2, 10\) to \(2, 4\)"):
        prune_channels(DigitsNet(16), DIGIT, PruneStructured(ratio=0.5, round_to=4))


@pytest.mark.parametrize(
    ("width", "arguments"),
    [(16, PruneStructured(ratio=0.0)), (4, PruneStructured(ratio=0.5)), (16, PruneStructured(ratio=0.99, most=1.0))],
    ids=["nothing asked", "layers narrower than the multiple", "nothing would be left"],
)
def test_what_cuts_nothing_is_refused(width: int, arguments: PruneStructured) -> None:
    with pytest.raises(NotPruned, match="cut nothing"):
        prune_channels(Residual(width), PICTURE, arguments)


def test_an_ignored_layer_that_is_not_there_is_named() -> None:
    with pytest.raises(NotPruned, match="no layer 'trunk'"):
        prune_channels(Residual(), PICTURE, PruneStructured(ignored=("trunk",)))


def test_a_pruned_network_learns_and_its_checkpoint_resumes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pruned = prune_channels(DigitsNet(8), DIGIT, PruneStructured(ratio=0.5, round_to=4))
    examples = Examples((torch.rand(64, 1, 8, 8) * 16,), torch.arange(64) % 10)
    settings = TrainSettings(epochs=2, batch_rows=16)
    epochs = Trainer(pruned.network, examples, examples, settings, checkpoint=tmp_path / "c.pt").run()
    again = rebuild(DigitsNet(8), DIGIT, pruned.plan)
    assert Trainer(again, examples, examples, settings, checkpoint=tmp_path / "c.pt").run() == epochs
    assert torch.equal(again(examples.inputs[0]), pruned.network(examples.inputs[0]))
