"""The export: symbolic batch, raw pixels in, equal answers, nothing of the machine in the file."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from models.train.export import OPSET, export  # noqa: E402
from models.train.networks import DigitsNet, parameters, reproducible  # noqa: E402
from service.core.contract import TensorSpec  # noqa: E402
from service.runtime.onnx import OnnxRunner  # noqa: E402
from service.runtime.providers import RunnerOptions  # noqa: E402


@pytest.fixture(scope="module")
def network():  # type: ignore[no-untyped-def]
    reproducible(0)
    return DigitsNet(width=4).eval()


@pytest.fixture(scope="module")
def exported(network) -> bytes:  # type: ignore[no-untyped-def]
    return export(network, torch.zeros(2, 1, 8, 8), input_name="image", output_name="logits")


def test_the_batch_axis_is_one_symbol(exported: bytes) -> None:
    runner = OnnxRunner.load(exported, {}, RunnerOptions(provider="cpu", threads=1))
    assert runner.inputs == (TensorSpec("image", "FP32", ("batch", 1, 8, 8)),)
    assert runner.outputs == (TensorSpec("logits", "FP32", ("batch", 10)),)


@pytest.mark.parametrize("rows", [1, 2, 5, 33])
def test_the_file_answers_as_the_network_does_from_raw_pixels(network, exported: bytes, rows: int) -> None:  # type: ignore[no-untyped-def]
    images = np.random.default_rng(rows).integers(0, 17, (rows, 1, 8, 8)).astype(np.float32)
    runner = OnnxRunner.load(exported, {}, RunnerOptions(provider="cpu", threads=1))
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    assert np.allclose(runner.run({"image": images})["logits"], expected, atol=1e-5)


def test_the_file_holds_no_trace_of_where_it_was_made(exported: bytes) -> None:
    assert not re.search(rb"\.py|site-packages|stack_trace|/(home|root|usr|tmp|work)", exported)


def test_the_opset_and_the_weights_inside(network, exported: bytes) -> None:  # type: ignore[no-untyped-def]
    import onnx  # noqa: PLC0415

    model = onnx.load_from_string(exported)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    held = sum(int(np.prod(w.dims)) for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT)
    assert 0.9 * parameters(network) < held < 1.1 * parameters(network)


def test_an_equal_network_in_training_gives_equal_bytes_and_is_left_in_eval_mode(exported: bytes) -> None:
    reproducible(0)
    training = DigitsNet(width=4).train()
    assert export(training, torch.zeros(2, 1, 8, 8), input_name="image", output_name="logits") == exported
    assert not training.training


def test_a_network_whose_answer_has_no_batch_axis_is_refused() -> None:
    class Sums(torch.nn.Module):
        def forward(self, image):  # type: ignore[no-untyped-def]
            return image.sum(0)

    with pytest.raises(ValueError, match="logits has no axis 'batch' in front"):
        export(Sums(), torch.zeros(2, 1, 8, 8), input_name="image", output_name="logits")


def test_the_width_decides_the_size() -> None:
    assert parameters(DigitsNet(width=8)) > 3 * parameters(DigitsNet(width=4))
