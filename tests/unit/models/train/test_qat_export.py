"""The exported file holds 8-bit weights, runs on integer kernels, and answers as the network trained with roundings."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")
onnx = pytest.importorskip("onnx", reason="onnx comes with the workshop extra")

import onnxruntime  # noqa: E402

from models.compress.checks import NotApplied, op_counts, same_signature  # noqa: E402
from models.data import digits  # noqa: E402
from models.evaluate import latency  # noqa: E402
from models.train import qat_export  # noqa: E402
from models.train.evaluation import evaluate  # noqa: E402
from models.train.examples import Examples  # noqa: E402
from models.train.export import export, parity  # noqa: E402
from models.train.loop import Trainer, TrainSettings  # noqa: E402
from models.train.networks import DigitsNet, reproducible  # noqa: E402
from models.train.qat import prepare  # noqa: E402
from models.train.qat_export import export_quantised  # noqa: E402
from service.runtime.onnx import OnnxRunner  # noqa: E402
from service.runtime.providers import RunnerOptions  # noqa: E402
from tests.unit.models.train.test_qat import Residual, digits_net, images  # noqa: E402

NAMES = {"input_name": "image", "output_name": "logits"}
EXAMPLE = torch.zeros(2, 1, 8, 8)
WIDTH = 8


def fused(model: bytes, folder) -> dict[str, int]:  # type: ignore[no-untyped-def]
    """The operators that ONNX Runtime really runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return op_counts((folder / "fused.onnx").read_bytes())


@pytest.fixture(scope="module")
def prepared():  # type: ignore[no-untyped-def]
    return prepare(digits_net(WIDTH), images(100))


@pytest.fixture(scope="module")
def exported(prepared) -> bytes:  # type: ignore[no-untyped-def]
    return export_quantised(prepared, EXAMPLE, **NAMES)


def test_signature_is_that_of_the_full_export_and_the_file_is_about_a_quarter(exported: bytes) -> None:
    full = export(digits_net(WIDTH), EXAMPLE, **NAMES)
    same_signature(full, exported, "qat")
    bits = [onnx.load_from_string(model).graph.initializer for model in (full, exported)]
    held = [sum(len(one.raw_data) for one in initializers if len(one.dims) > 1) for initializers in bits]
    assert held[0] == 4 * held[1]


def test_every_layer_runs_on_integers(exported: bytes, tmp_path) -> None:  # type: ignore[no-untyped-def]
    counts = fused(exported, tmp_path)
    assert (counts.get("QLinearConv"), counts.get("QGemm")) == (3, 2)
    assert not {"Conv", "Gemm", "MatMul", "DequantizeLinear"} & counts.keys()


def test_a_residual_block_runs_on_integers(tmp_path) -> None:  # type: ignore[no-untyped-def]
    prepared = prepare(Residual(), images(100))
    model = export_quantised(prepared, EXAMPLE, **NAMES)
    assert parity(prepared, model, images(100, 1), tolerance=0.02) > 0
    counts = fused(model, tmp_path)
    assert (counts.get("QLinearConv"), counts.get("QLinearAdd"), counts.get("QGemm")) == (2, 1, 1)


def test_a_linear_layer_of_three_axes_runs_on_integers(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    some = Examples((torch.randn(40, 5, 8),), torch.zeros(40, dtype=torch.int64))
    prepared = prepare(network, some)
    model = export_quantised(prepared, torch.zeros(2, 5, 8), input_name="x", output_name="y")
    assert parity(prepared, model, some, tolerance=0.02) > 0
    assert not {"Gemm", "MatMul"} & fused(model, tmp_path).keys()


def test_the_tensorrt_form_is_signed_and_symmetric_throughout() -> None:
    prepared = prepare(digits_net(WIDTH), images(100), "tensorrt")
    model = export_quantised(prepared, EXAMPLE, **NAMES)
    graph = onnx.load_from_string(model).graph
    held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    zeros = [held[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(zeros) == 5
    assert all(zero.dtype == np.int8 and zero == 0 for zero in zeros)
    assert parity(prepared, model, images(100, 1), tolerance=0.02) >= 0


def test_answers_are_those_of_the_network(prepared, exported: bytes) -> None:  # type: ignore[no-untyped-def]
    """Not within 1e-5: what lies between two of 256 steps may be rounded up here and down there."""
    assert parity(prepared, exported, images(100, 1), tolerance=0.02) > 0


def test_negative_control_a_scale_that_is_off_is_seen_by_parity(prepared, exported: bytes) -> None:  # type: ignore[no-untyped-def]
    model = onnx.load_from_string(exported)
    last = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][-1].input[1]
    for one in model.graph.initializer:
        if one.name == last:
            one.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one) * np.float32(1.5), last))
    with pytest.raises(ValueError, match=r"differ from the network's by .*, above 0\.02"):
        parity(prepared, model.SerializeToString(), images(100, 1), tolerance=0.02)


def test_a_network_without_roundings_is_refused() -> None:
    with pytest.raises(NotApplied, match="no roundings to export"):
        export_quantised(digits_net(WIDTH), EXAMPLE, **NAMES)


def test_negative_control_weights_left_in_32_bits_are_noticed(prepared, exported: bytes) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NotApplied, match="has 5 weights in 8 bits, not 6"):
        qat_export._assert_quantised(exported, 6, 5)
    with pytest.raises(NotApplied, match="has 5 roundings of activations, not 4"):
        qat_export._assert_quantised(exported, 5, 4)


def tensors(name: str) -> Examples:
    samples = digits.part(name)
    return Examples((torch.from_numpy(samples.inputs[digits.INPUT]),), torch.from_numpy(samples.labels))


@pytest.mark.slow
def test_digits_trained_with_roundings_lose_nothing_and_weigh_a_quarter(tmp_path) -> None:  # type: ignore[no-untyped-def]
    reproducible(0)
    training, development = tensors("training"), tensors("development")
    settings = TrainSettings(epochs=10)
    network = DigitsNet(32)
    Trainer(network, training, development, settings).run()
    full = export(network, EXAMPLE, **NAMES)
    prepared = prepare(network, tensors("calibration"))
    Trainer(prepared, training, development, dataclasses.replace(settings, epochs=3, learning_rate=2e-4)).run()
    variant = export_quantised(prepared, EXAMPLE, **NAMES)
    before, after = (evaluate(one, development).accuracy for one in (network, prepared))
    assert after >= before - 0.0051  # one of 197 rows
    assert len(variant) < 0.28 * len(full)
    runners = [OnnxRunner.load(one, {}, RunnerOptions(provider="cpu", threads=1)) for one in (variant, full)]
    inputs = {"image": development.inputs[0].numpy()}
    guesses = [runner.run(inputs)["logits"].argmax(1) for runner in runners]
    assert (guesses[0] == development.labels.numpy()).mean() == pytest.approx(after, abs=0.0051)
    raced = latency.race(*runners, {"image": inputs["image"][:8]}, runs=50)
    print(f"accuracy {before:.4f} -> {after:.4f}, bytes {len(full)} -> {len(variant)}, faster {raced.speedup}")  # noqa: T201
