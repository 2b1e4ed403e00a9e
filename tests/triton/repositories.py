"""The same models for both servers: ONNX files for Retort, the same files behind the Python backend for Triton."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from onnx import TensorProto

from tests.unit.runtime.graphs import identity

DIGITS = Path(__file__).parents[2] / "models" / "repository" / "digits" / "1" / "model.onnx"
CONFIG = """name: "{name}"
{runs}max_batch_size: 32
input [ {{ name: "{input}" data_type: {kind} dims: [ {input_dims} ] }} ]
output [ {{ name: "{output}" data_type: {kind} dims: [ {output_dims} ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
dynamic_batching {{ }}
version_policy {{ all {{ }} }}
"""
BY_PYTHON = 'backend: "python"\n'
BY_ONNX = 'platform: "onnxruntime_onnx"\n'


def write_both(folder: Path) -> tuple[Path, Path]:
    """Writes both repositories; (Triton's, Retort's). They differ in the backend alone."""
    triton, retort = folder / "triton", folder / "retort"
    text = identity(TensorProto.STRING)
    for name, onnx, values in (
        ("digits", DIGITS.read_bytes(), ("image", "logits", "TYPE_FP32", "1, 8, 8", "10")),
        ("text", text, ("x", "y", "TYPE_STRING", "4", "4")),
    ):
        keys = dict(zip(("input", "output", "kind", "input_dims", "output_dims"), values, strict=True))
        for root, runs in ((triton, BY_PYTHON), (retort, BY_ONNX)):
            version = root / name / "1"
            version.mkdir(parents=True)
            (version / "model.onnx").write_bytes(onnx)
            (root / name / "config.pbtxt").write_text(CONFIG.format(name=name, runs=runs, **keys))
        shutil.copy(Path(__file__).with_name("model.py"), triton / name / "1")
        # Read in the place of config.pbtxt, with the same meaning: its bytes are the shape's, not the backend's.
        (retort / name / "model.yaml").write_text("max_batch_size: 32\n")
    return triton, retort


def write_remote(folder: Path, url: str) -> Path:
    """A repository whose models a remote server at `url` runs."""
    for name in ("digits", "text"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.yaml").write_text(json.dumps({"runner": {"triton": {"url": url}}}))
    return folder
