"""The active version survives a restart and a power cut amid swaps; a state that cannot be written is not fatal."""

import itertools
import shutil
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml

from service.assembly import state_path
from service.settings import Settings
from tests.fault.test_swap_under_traffic import DIGITS, VERSIONS
from tests.support.process import ServerProcess


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(DIGITS, tmp_path / "repository" / "digits")
    return tmp_path / "repository"


def serve(repository: Path, folder: Path) -> ServerProcess:
    return ServerProcess(["--repository", str(repository)], folder)


def swap(server: ServerProcess, version: str) -> httpx.Response:
    return server.http.post("/v2/repository/models/digits/swap", json={"version": version})


def active(server: ServerProcess) -> str:
    body = {"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.0] * 64}]}
    answer = server.http.post("/v2/models/digits/infer", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model_version"])


def test_a_swap_survives_a_restart_and_so_does_the_way_back(repository: Path, tmp_path: Path) -> None:
    with serve(repository, tmp_path) as server:
        assert active(server) == "1"
        assert swap(server, "1-int8").status_code == 200
        assert active(server) == "1-int8"
        assert server.terminate() == 0
    with serve(repository, tmp_path) as server:
        assert active(server) == "1-int8"
        assert server.http.post("/v2/repository/models/digits/rollback", json={}).json()["to"] == "1"
        assert active(server) == "1"


@pytest.mark.parametrize(
    ("residency", "kills_into_a_swap"), [("all", [0.5]), ("active", [0.1, 0.4, 0.7, 0.95])], ids=["all", "active"]
)
def test_after_kill_9_during_swaps_what_was_acknowledged_or_under_way_serves(
    repository: Path, tmp_path: Path, residency: str, kills_into_a_swap: list[float]
) -> None:
    """Killed after that part of the time a swap takes: amid the load where only the active version is resident."""
    config_file = repository / "digits" / "model.yaml"
    config_file.write_text(yaml.safe_dump({**yaml.safe_load(config_file.read_text()), "versions": residency}))
    may_serve = {"1"}
    for into_a_swap in kills_into_a_swap:
        with serve(repository, tmp_path) as server:
            assert active(server) in may_serve
            assert swap(server, "1").status_code == 200
            may_serve = killed(server, into_a_swap, loads=residency == "active")
    with serve(repository, tmp_path) as server:
        assert active(server) in may_serve
        assert swap(server, "1").status_code == 200


def killed(server: ServerProcess, into_a_swap: float, *, loads: bool) -> set[str]:
    """Swaps to and fro until a kill: what was acknowledged last, and what was under way."""
    acknowledged: list[str] = []
    asked: list[str] = []
    taken_s: list[float] = []

    def keep_swapping() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for version in itertools.cycle(reversed(VERSIONS)):
                began_s = time.perf_counter()
                asked.append(version)
                try:
                    answer = client.post("/v2/repository/models/digits/swap", json={"version": version})
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                assert (answer.json()["load_ms"] > 0) is loads
                taken_s.append(time.perf_counter() - began_s)
                acknowledged.append(version)

    swapping = threading.Thread(target=keep_swapping, daemon=True)
    swapping.start()
    while len(acknowledged) < 3:
        assert swapping.is_alive(), server.log()[-4000:]
        time.sleep(0.005)
    time.sleep(into_a_swap * min(taken_s))
    server.kill()
    swapping.join(60)
    assert not swapping.is_alive()
    return {acknowledged[-1], asked[-1]}


def test_a_state_folder_that_cannot_be_written_is_reported_and_not_fatal(repository: Path, tmp_path: Path) -> None:
    state_file = state_path(Settings(repository=(repository,), state_dir=tmp_path / "state"))
    assert state_file is not None
    state_file.parent.parent.mkdir()
    state_file.parent.write_text("a file where a folder should be")
    with serve(repository, tmp_path) as server:
        answer = swap(server, "1-int8")
        assert answer.status_code == 200
        assert "not-durable" in answer.json()["warning"]
        assert active(server) == "1-int8"
        assert "not durable" in server.log()
