"""The residual networks: depth and size as published, given weights taken over exactly, pruned inside their blocks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from models.train.export import export  # noqa: E402
from models.train.networks import parameters, reproducible  # noqa: E402
from models.train.resnet import (  # noqa: E402
    DEVIATION,
    MEAN,
    Block,
    OtherWeights,
    ResNet,
    difference,
    take_weights,
    trunk_layers,
)
from service.runtime.onnx import OnnxRunner  # noqa: E402
from service.runtime.providers import RunnerOptions  # noqa: E402
from tests.support.real_data import real_data  # noqa: E402

EXAMPLE = torch.zeros(2, 3, 32, 32)


@pytest.fixture(autouse=True)
def seeded() -> None:
    reproducible(0)


def _images(n: int = 8) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 3, 32, 32)).astype(np.float32)


def _initializers(network: ResNet, **others: np.ndarray) -> bytes:
    """A file with the network's weights under their names, and no nodes."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()} | others
    given = [numpy_helper.from_array(value, name) for name, value in weights.items() if "num_batches" not in name]
    return onnx.ModelProto(graph=onnx.GraphProto(initializer=given)).SerializeToString()


@pytest.mark.parametrize(("blocks", "millions"), [(3, 0.27), (9, 0.85)])
def test_sizes_are_those_of_the_paper(blocks: int, millions: float) -> None:
    assert round(parameters(ResNet(blocks)) / 1e6, 2) == millions


def test_a_block_halves_the_image_and_its_shortcut_has_zeros_around_every_other_pixel() -> None:
    block = Block(4, 8).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    image = torch.rand(1, 4, 6, 6)
    answer = block(image)
    assert answer.shape == (1, 8, 3, 3)
    assert torch.equal(answer[:, 2:6], image[:, :, ::2, ::2])
    assert not answer[:, :2].any()
    assert not answer[:, 6:].any()


def test_raw_pixels_are_normalised_inside() -> None:
    network = ResNet(1)
    pixels = torch.from_numpy(_images(2))
    told = pixels * network.scale - network.shift
    expected = (pixels / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)
    assert torch.allclose(told, expected, atol=1e-5)


def test_weights_of_a_file_are_taken_over() -> None:
    given = ResNet(1)
    reproducible(1)
    network = ResNet(1).train()
    take_weights(network, _initializers(given))
    images = torch.from_numpy(_images())
    assert torch.equal(network(images), given.eval()(images))
    assert not network.training


def test_a_file_of_another_depth_or_width_is_refused() -> None:
    with pytest.raises(OtherWeights, match=r"has a weight layer1\.1\.conv1\.weight .* and the file lacks it"):
        take_weights(ResNet(2), _initializers(ResNet(1)))
    wide = _initializers(ResNet(1), **{"linear.weight": np.zeros((7, 64), np.float32)})
    with pytest.raises(OtherWeights, match=r"linear.weight \(10, 64\), and the file has it as \(7, 64\)"):
        take_weights(ResNet(1), wide)


def test_the_export_answers_as_the_network_does_and_pools_in_a_node_that_can_be_quantised() -> None:
    network = ResNet(1)
    exported = export(network, EXAMPLE, input_name="image", output_name="logits")
    runner = OnnxRunner.load(exported, {}, RunnerOptions(provider="cpu", threads=1))
    images = _images()
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    assert np.abs(runner.run({"image": images})["logits"] - expected).max() < 1e-4
    assert "AveragePool" in {node.op_type for node in onnx.load_from_string(exported).graph.node}


def test_channels_inside_the_blocks_are_pruned_and_the_trunk_stays() -> None:
    pytest.importorskip("torch_pruning", reason="torch-pruning comes with requirements/torch.txt")
    from models.train.prune_structured import PruneStructured, prune_channels, rebuild  # noqa: PLC0415

    network = ResNet(2)
    pruned = prune_channels(network, EXAMPLE, PruneStructured(ratio=0.5, ignored=trunk_layers(network)))
    assert len(pruned.plan.kept) == 6
    assert all(name.endswith("conv1") and name != "conv1" for name in pruned.plan.kept)
    assert 0.45 < pruned.macs / pruned.macs_before < 0.55
    again = rebuild(ResNet(2), EXAMPLE, pruned.plan)
    again.load_state_dict(pruned.network.state_dict())
    images = torch.from_numpy(_images())
    assert torch.equal(again(images), pruned.network(images))


@pytest.mark.parametrize(("file", "blocks"), [("resnet20.onnx", 3), ("resnet56.onnx", 9)])
def test_the_given_files_weights_give_the_given_files_answers(file: str, blocks: int) -> None:
    model = (real_data("resnet-cifar10") / file).read_bytes()
    network = ResNet(blocks)
    take_weights(network, model)
    assert difference(network, model, _images(16)) < 1e-3
    with torch.no_grad():
        network.bn1.weight.mul_(1.01)
    assert difference(network, model, _images(16)) > 1e-3, "negative control: one layer 1 % off shows"
