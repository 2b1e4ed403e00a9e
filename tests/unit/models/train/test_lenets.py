"""The paper's two networks: their sizes to the weight, raw pixels in, logits out, one dynamic batch axis."""

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from torch import nn  # noqa: E402

from models.train.examples import Examples  # noqa: E402
from models.train.export import export, parity  # noqa: E402
from models.train.lenets import LeNet5, LeNet300  # noqa: E402
from models.train.networks import parameters  # noqa: E402


@pytest.mark.parametrize(("network", "count"), [(LeNet300(), 266_610), (LeNet5(), 431_080)])
def test_the_papers_number_of_weights(network: nn.Module, count: int) -> None:
    assert parameters(network) == count


@pytest.mark.parametrize("network", [LeNet300((30, 10)), LeNet5((4, 8), 16)])
def test_raw_pixels_give_logits_alone_and_in_a_batch(network: nn.Module) -> None:
    images = torch.rand(3, 1, 28, 28) * 255
    with torch.no_grad():
        logits = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert logits.shape == (3, 10)
    assert torch.allclose(logits, alone, atol=1e-5)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("network", [LeNet300((30, 10)), LeNet5((4, 8), 16)])
def test_the_exported_file_answers_as_the_network(network: nn.Module) -> None:
    onnx = export(network, torch.zeros(2, 1, 28, 28), input_name="image", output_name="logits")
    images = torch.rand(7, 1, 28, 28) * 255
    assert parity(network, onnx, Examples((images,), torch.zeros(7, dtype=torch.int64))) < 1e-4


def test_pixels_are_scaled_within() -> None:
    network = LeNet300((30, 10))
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1.0)
        # 784 pixels of 1 after scaling, plus the bias, through layers of ones
        expected = ((784 + 1) * 30 + 1) * 10 + 1
        assert network(torch.full((1, 1, 28, 28), 255.0))[0, 0].item() == pytest.approx(expected)
