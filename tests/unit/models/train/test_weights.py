"""Weights out of an exported file and back: the network that is read back answers as the file does."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from models.train.examples import Examples  # noqa: E402
from models.train.export import export, parity  # noqa: E402
from models.train.lenets import LeNet5, LeNet300  # noqa: E402
from models.train.networks import DigitsNet  # noqa: E402
from models.train.weights import OtherBuild, from_bytes, load_onnx, to_bytes  # noqa: E402


@pytest.fixture(scope="module")
def digits_onnx() -> bytes:
    torch.manual_seed(1)
    network = DigitsNet(8)
    with torch.no_grad():
        network(torch.rand(64, 1, 8, 8) * 16)  # so that the normalisations have seen something
    return export(network, torch.zeros(2, 1, 8, 8), input_name="image", output_name="logits")


def some(height: int) -> Examples:
    images = torch.rand(20, 1, height, height, generator=torch.Generator().manual_seed(2)) * 16
    return Examples((images,), torch.zeros(20, dtype=torch.int64))


def test_a_folded_network_read_back_answers_as_the_file(digits_onnx: bytes) -> None:
    network = DigitsNet(8, folded=True)
    load_onnx(network, digits_onnx)
    assert not network.training
    assert parity(network, digits_onnx, some(8)) < 1e-4


def test_negative_control_a_network_with_other_weights_does_not(digits_onnx: bytes) -> None:
    with pytest.raises(ValueError, match="differ from the network's"):
        parity(DigitsNet(8, folded=True), digits_onnx, some(8))


def test_a_network_that_was_read_back_exports_and_reads_again(digits_onnx: bytes) -> None:
    network, again = DigitsNet(8, folded=True), DigitsNet(8, folded=True)
    load_onnx(network, digits_onnx)
    load_onnx(again, export(network, torch.zeros(2, 1, 8, 8), input_name="image", output_name="logits"))
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), again.parameters(), strict=True))


def test_another_width_is_refused(digits_onnx: bytes) -> None:
    with pytest.raises(OtherBuild, match=r"features\.0\.weight \(4, 1, 3, 3\), and the file has it as \(8, 1, 3, 3\)"):
        load_onnx(DigitsNet(4, folded=True), digits_onnx)


def test_normalisations_are_not_in_an_exported_file(digits_onnx: bytes) -> None:
    with pytest.raises(OtherBuild, match="lacks it"):
        load_onnx(DigitsNet(8), digits_onnx)


def test_a_refused_file_leaves_the_network_as_it_was(digits_onnx: bytes) -> None:
    network = LeNet300((20, 10))
    before = to_bytes(network)
    with pytest.raises(OtherBuild):
        load_onnx(network, digits_onnx)
    assert to_bytes(network) == before


@pytest.mark.parametrize("channels_last", [False, True])
def test_bytes_carry_every_weight_whatever_its_layout(channels_last: bool) -> None:
    torch.manual_seed(4)
    network, again = LeNet5((2, 3), 7), LeNet5((2, 3), 7)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    from_bytes(again, to_bytes(network))
    assert not again.training
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), again.parameters(), strict=True))


def test_equal_networks_give_equal_bytes() -> None:
    torch.manual_seed(4)
    network, again = LeNet5((2, 3), 7), LeNet5((2, 3), 7)
    assert to_bytes(again) != to_bytes(network)
    again.load_state_dict(network.state_dict())
    assert to_bytes(again) == to_bytes(network)
