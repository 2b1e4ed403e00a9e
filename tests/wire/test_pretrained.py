"""Pre-trained networks on real images, through Triton's own clients: the answers are raw ONNX Runtime's, and right."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from PIL import Image

from tests.support.process import ServerProcess
from tests.support.real_data import real_data

NETWORKS = ("resnet20", "resnet56")
IMAGES = 64
# Published top-1 is 91.8 and 93.6 % on lossless images; these are JPEGs, which cost about ten points.
LEAST_RIGHT = {"resnet20": 45, "resnet56": 45}
MEAN, STD = (np.asarray(values, np.float32) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A repository made the way a user makes one: a folder, a version, an ONNX file, nothing else."""
    folder = tmp_path_factory.mktemp("pretrained")
    for name in NETWORKS:
        version = folder / "repository" / name / "1"
        version.mkdir(parents=True)
        shutil.copy(real_data("resnet-cifar10") / f"{name}.onnx", version / "model.onnx")
    with ServerProcess(["--repository", str(folder / "repository")], folder) as server:
        yield server


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Test images of CIFAR-10 from all classes, normalised, float32 [n, 3, 32, 32], and their labels."""
    file = np.load(real_data("cifar10") / "cifar10_test_jpeg.npz", allow_pickle=False)
    jpeg, offsets, labels = file["jpeg"], file["offsets"], file["y"]
    chosen = np.linspace(0, len(labels) - 1, IMAGES).astype(int)
    coded = [jpeg[offsets[index] : offsets[index + 1]].tobytes() for index in chosen]
    pixels = [np.asarray(Image.open(io.BytesIO(each)), np.float32) / 255 for each in coded]
    normalised = (np.stack(pixels) - MEAN) / STD
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)), labels[chosen]


def raw(name: str, rows: Any) -> Any:
    session = onnxruntime.InferenceSession(
        str(real_data("resnet-cifar10") / f"{name}.onnx"), providers=["CPUExecutionProvider"]
    )
    return session.run(["logits"], {"input": rows})[0]


def tensor(module: Any, rows: Any, binary: bool) -> Any:
    sent = module.InferInput("input", list(rows.shape), "FP32")
    sent.set_data_from_numpy(rows, binary_data=binary)
    return sent


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_real_images_get_right_answers(pretrained: ServerProcess, images: Any, name: str, binary: bool) -> None:
    rows, labels = images
    with triton.InferenceServerClient(f"127.0.0.1:{pretrained.port}") as client:
        outputs = [triton.InferRequestedOutput("logits", binary_data=binary)]
        found = client.infer(name, [tensor(triton, rows, binary)], outputs=outputs).as_numpy("logits")
    expected = raw(name, rows)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    right = int((found.argmax(axis=1) == labels).sum())
    assert right >= LEAST_RIGHT[name], f"{right} of {IMAGES} are right"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
async def test_the_asynchronous_client_gets_them_too_many_at_once(
    pretrained: ServerProcess, images: Any, binary: bool
) -> None:
    rows, _ = images
    expected = raw("resnet20", rows)
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{pretrained.port}") as client:

        async def one(index: int) -> Any:
            outputs = [triton_aio.InferRequestedOutput("logits", binary_data=binary)]
            sent = [tensor(triton_aio, rows[index : index + 1], binary)]
            return (await client.infer("resnet20", sent, outputs=outputs)).as_numpy("logits")

        found = np.concatenate(await asyncio.gather(*(one(index) for index in range(IMAGES))))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_they_are_batched(pretrained: ServerProcess) -> None:
    views = pretrained.http.get("/v2/models/resnet56").json()
    assert views["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 3, 32, 32]}]
    assert views["batching"]["mode"] == "any"
