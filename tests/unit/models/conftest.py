"""A full version and its int8 variant of a small task, with the answers that the full version gives as labels."""

from __future__ import annotations

import pytest

from models.compress.int8_static import Int8Static, int8_static
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material
from models.data.samples import Samples
from models.evaluate import appraise, measure
from tests.unit.models.compress.networks import convolutional, images


@pytest.fixture(scope="session")
def full_onnx() -> bytes:
    return convolutional()


@pytest.fixture(scope="session")
def variant_onnx(full_onnx: bytes) -> bytes:
    return int8_static(preprocess(full_onnx, Preprocess()), Int8Static(), Material(images()))


@pytest.fixture(scope="session")
def trial(full_onnx: bytes) -> appraise.Trial:
    inputs = images(300)
    bench = measure.Bench("a-cpu")
    runner = measure.load(full_onnx, bench, images(1)).runner
    labels = measure.answers(runner, inputs, "logits").logits.argmax(axis=1)
    return appraise.Trial(bench, Samples(inputs, labels), "logits", runs=20)
