"""The export: symbolic batch, raw pixels in, equal answers, nothing of the machine in the file."""

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from models.train.examples import Examples  # noqa: E402
from models.train.export import BATCH, OPSET, SEQUENCE, export, parity  # noqa: E402
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


class Reader(torch.nn.Module):
    """Mean of token vectors where the mask is 1, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = torch.nn.Embedding(50, 8)
        self.places = torch.nn.Embedding(16, 8)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, ids, mask):  # type: ignore[no-untyped-def]
        tokens = self.vectors(ids) + self.places(torch.arange(ids.shape[1]))
        weight = mask.unsqueeze(2).float()
        return self.head((tokens * weight).sum(1) / weight.sum(1))


def texts(rows: int, length: int):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(rows)
    ids = torch.randint(0, 50, (rows, length), generator=generator)
    mask = (torch.rand(rows, length, generator=generator) < 0.7).long()
    mask[:, 0] = 1
    return Examples((ids, mask), torch.zeros(rows, dtype=torch.int64))


@pytest.fixture(scope="module")
def reader():  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return Reader()


@pytest.fixture(scope="module")
def exported_reader(reader) -> bytes:  # type: ignore[no-untyped-def]
    names = ("input_ids", "attention_mask")
    return export(reader, texts(2, 5).inputs, input_name=names, output_name="logits", max_sequence=16)


def test_two_inputs_with_a_sequence_axis(exported_reader: bytes) -> None:
    runner = OnnxRunner.load(exported_reader, {}, RunnerOptions(provider="cpu", threads=1))
    assert runner.inputs == (
        TensorSpec("input_ids", "INT64", (BATCH, SEQUENCE)),
        TensorSpec("attention_mask", "INT64", (BATCH, SEQUENCE)),
    )
    assert runner.outputs == (TensorSpec("logits", "FP32", (BATCH, 3)),)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 5), (130, 16)])
def test_parity_of_two_inputs_at_any_batch_and_length(reader, exported_reader: bytes, rows: int, length: int) -> None:  # type: ignore[no-untyped-def]
    assert parity(reader, exported_reader, texts(rows, length)) < 1e-5


def test_without_a_longest_sequence_its_length_is_fixed(reader) -> None:  # type: ignore[no-untyped-def]
    fixed = export(reader, texts(2, 5).inputs, input_name=("input_ids", "attention_mask"), output_name="logits")
    runner = OnnxRunner.load(fixed, {}, RunnerOptions(provider="cpu", threads=1))
    assert [tuple(spec.shape) for spec in runner.inputs] == [(-1, 5), (-1, 5)]


def test_names_and_examples_must_be_equally_many(reader) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="2 example inputs have 1 names: input_ids"):
        export(reader, texts(2, 5).inputs, input_name="input_ids", output_name="logits")


def test_negative_control_parity_catches_a_weight_that_moved(network, exported: bytes) -> None:  # type: ignore[no-untyped-def]
    images = Examples((torch.full((3, 1, 8, 8), 7.0),), torch.zeros(3, dtype=torch.int64))
    assert parity(network, exported, images) < 1e-5
    other = DigitsNet(width=4)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        other.classifier[-1].bias[3] += 0.01
    with pytest.raises(ValueError, match=r"differ from the network's by 0\.01, above 0\.0001"):
        parity(other, exported, images)
    assert parity(other, exported, images, tolerance=0.1) == pytest.approx(0.01, rel=1e-2)


def test_negative_control_parity_catches_nan(network, exported: bytes) -> None:  # type: ignore[no-untyped-def]
    images = Examples((torch.full((3, 1, 8, 8), float("nan")),), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="by nan"):
        parity(network, exported, images)


def test_parity_of_a_file_with_other_inputs_is_refused(network, exported_reader: bytes) -> None:  # type: ignore[no-untyped-def]
    images = Examples((torch.zeros(3, 1, 8, 8),), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="the inputs input_ids, attention_mask; the examples have 1"):
        parity(network, exported_reader, images)
