"""The real Triton beside ours: the better of its two is what counts, and where it is, both answer the same load."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.bench import peers
from tests.bench.server import ours
from tests.bench.tiny import write_repository
from tests.bench.verdict import Ratio


def test_ours_is_held_against_the_better_of_its_two(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"ours": 100.0, "quick": 50.0, "patient": 80.0}
    warm = set[tuple[str, str]]()

    def rate(port: str, form: str, _connections: int) -> float:
        cold = (port, form) not in warm
        warm.add((port, form))
        return 1.0 if cold else rates[port]

    monkeypatch.setattr(peers, "_rate", rate)
    service = SimpleNamespace(port="ours")
    found = peers.measure(service, {0: "quick", 2000: "patient"}, (16,), rounds=3)  # type: ignore[arg-type]
    assert found == {"json, 16": Ratio(0.8, 0.8, 0.8), "binary, 16": Ratio(0.8, 0.8, 0.8)}


def test_there_is_none_unless_a_folder_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PEERS_HOME", raising=False)
    assert peers.environment() is None
    monkeypatch.setenv("PEERS_HOME", str(tmp_path))
    assert peers.environment() is None
    (tmp_path / "venvs" / "triton").mkdir(parents=True)
    assert peers.environment() == (tmp_path / "venvs" / "triton").resolve()


@pytest.mark.skipif(peers.environment() is None, reason="PEERS_HOME names no folder with venvs/triton")
@pytest.mark.timeout(180)
def test_both_answer_the_same_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "SECONDS", 0.2)
    write_repository(tmp_path / "repository")
    onnx = tmp_path / "repository" / "tiny" / "1" / "model.onnx"
    service = ours(tmp_path / "repository", tmp_path / "state")
    with closing(service), peers.tritons(Path(str(peers.environment())), onnx, tmp_path) as ports:
        found = peers.measure(service, ports, (1,), rounds=1)
    assert all(ratio.low > 0.05 for ratio in found.values())
    assert set(found) == {"json, 1", "binary, 1"}
