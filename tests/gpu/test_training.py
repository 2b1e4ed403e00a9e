"""Two processes on two GPUs train over nccl as one process does."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.launch import launch  # noqa: E402
from tests.unit.models.train import ranks as entries  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


@pytest.fixture
def two_gpus() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs two GPUs and a torch built for CUDA; {torch.cuda.device_count()} found")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("case", [{}, {"kind": "norm"}, {"distil": True}], ids=["plain", "norm", "distil"])
def test_gradients_and_weights_are_those_of_one_process(tmp_path: Path, case: dict[str, object]) -> None:
    for count in (1, 2):
        launch(count, f"{entries.__name__}:train", {"folder": str(tmp_path), **case}, stuck_s=120)
    one, two = (torch.load(tmp_path / f"rank-0-of-{count}.pt") for count in (1, 2))
    gaps = [(a - b).abs().max().item() for a, b in zip(one["gradients"], two["gradients"], strict=True)]
    assert max(gaps) < 1e-6
    assert max((one["weights"][k] - two["weights"][k]).abs().max().item() for k in one["weights"]) < 1e-5
