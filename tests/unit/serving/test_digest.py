"""One hash for all that a version computes with."""

import hashlib

import pytest

from service.serving.digest import digest
from tests.unit.serving import models
from tests.unit.serving.house import House


def of(house: House, onnx: bytes, **external: bytes) -> str:
    house.put("1", onnx, **external)
    return digest(house.source.read_version("m", "1"))


async def test_without_other_files_it_is_the_models_own_sha256(house: House) -> None:
    assert of(house, models.scales(2.0)) == hashlib.sha256(models.scales(2.0)).hexdigest()


@pytest.mark.parametrize("offset", [1, 2])
async def test_it_changes_with_each_byte_of_the_weights_outside(house: House, offset: int) -> None:
    onnx, weights = models.adds_stored_outside(), models.WEIGHTS
    whole = of(house, onnx, w_bin=weights.tobytes())
    assert of(house, onnx, w_bin=weights.tobytes()) == whole
    assert of(house, onnx, w_bin=(weights + offset).tobytes()) != whole
