"""Reads configurations as they would stand in a model's folder, for the tests of each part of Triton's message."""

from __future__ import annotations

from typing import Any

import pytest

from service.core.errors import BadModel
from service.repository.config_files import read_config
from service.repository.memory_folder import MemoryFolder
from service.repository.model_config import ModelConfig

BATCHED = """
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, 224, 224 ] format: FORMAT_NCHW } ]
output [ { name: "scores" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
"""
FILES = {"labels.txt": b"cat\r\ndog\n", "warmup/x.bin": b"\0" * 8}


def read(text: str, **files: bytes) -> ModelConfig:
    named = {name.replace("_", "."): data for name, data in files.items()}
    return read_config(MemoryFolder({"config.pbtxt": text.encode(), **FILES, **named}, "m"), "m")


def problem(text: str, **files: bytes) -> str:
    with pytest.raises(BadModel) as caught:
        read(text, **files)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def told(config: ModelConfig, *keys: str) -> tuple[Any, ...]:
    return tuple(getattr(config, key) for key in keys)


def tensor(more: str, kind: str = "input", head: str = "") -> str:
    return f'{head} {kind} [ {{ name: "x" {more} }} ]'
