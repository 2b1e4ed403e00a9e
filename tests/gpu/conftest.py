"""Skips what has no GPU to run on, and says what is in the way."""

from __future__ import annotations

import functools

import pytest

from service.runtime.devices import find_obstacles
from service.runtime.providers import Provider


@functools.cache
def obstacle(provider: Provider) -> str:
    return find_obstacles()[provider]


@pytest.fixture
def cuda() -> None:
    if obstacle("cuda"):
        pytest.skip(f"no CUDA: {obstacle('cuda')}")


@pytest.fixture
def tensorrt() -> None:
    if obstacle("tensorrt"):
        pytest.skip(f"no TensorRT: {obstacle('tensorrt')}")
