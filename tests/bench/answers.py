"""Whether the server answers what ONNX Runtime does alone: what is quick and wrong is not quick."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tritonclient.http as triton

from service.core.contract import DATATYPES, Array
from tests.bench.raw import session_of
from tests.bench.workload import NAME


def check_answer(port: str, row: Mapping[str, Array], model: Path, tolerance: float = 1e-3) -> None:
    """Asks once; `tolerance` is for what is far from 0 a share of it, and near 0 a share of the largest.

    Raises:
        SystemExit: another answer, or none.
    """
    session = session_of(model)
    inputs = [triton.InferInput(name, array.shape, DATATYPES[array.dtype]) for name, array in row.items()]
    for given, array in zip(inputs, row.values(), strict=True):
        given.set_data_from_numpy(array)
    with triton.InferenceServerClient(f"127.0.0.1:{port}", network_timeout=60.0) as client:
        answer = client.infer(NAME, inputs)
    names = [output.name for output in session.get_outputs()]
    for name, expected in zip(names, session.run(names, dict(row)), strict=True):
        room = tolerance * max(1.0, float(np.abs(expected).max()))
        if not np.allclose(answer.as_numpy(name), expected, rtol=tolerance, atol=room):
            raise SystemExit(f"the server's answer '{name}' is not that of ONNX Runtime")
