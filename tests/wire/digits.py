"""The shipped model's golden rows, and what each version answers to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

DIGITS = Path(__file__).parents[2] / "models" / "repository" / "digits"
VERSIONS = ("1", "1-int8")
INPUT, OUTPUT = "image", "logits"
INFER = "/v2/models/digits/infer"

_FILES = {version: dict(np.load(DIGITS / version / "golden.npz", allow_pickle=False)) for version in VERSIONS}
ROWS: Any = _FILES["1"][f"input/{INPUT}"]
ANSWERS: dict[str, Any] = {version: file[f"output/{OUTPUT}"] for version, file in _FILES.items()}
TOLERANCE = 0.01


def tensor(rows: Any, **more: Any) -> dict[str, Any]:
    """Rows as a JSON input."""
    return {"name": INPUT, "shape": list(rows.shape), "datatype": "FP32", "data": rows.tolist(), **more}


def image(client: Any, rows: Any, **more: Any) -> Any:
    """Rows as an input of Triton's client, `tritonclient.http` or `tritonclient.grpc`."""
    sent = client.InferInput(INPUT, list(rows.shape), "FP32")
    sent.set_data_from_numpy(rows, **more)
    return sent


def is_answer_of(version: str, logits: Any, count: int) -> bool:
    """Whether `logits` are what `version` answers to the first `count` rows."""
    return bool(np.abs(np.reshape(logits, (count, -1)) - ANSWERS[version][:count]).max() < TOLERANCE)
