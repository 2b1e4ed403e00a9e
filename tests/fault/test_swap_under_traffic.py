"""Swaps under traffic: nothing fails, every answer is that of the version it names, memory stays flat (promise A1)."""

import asyncio
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.openloop import LAG_LIMIT_S, Connections, Outcome, drive, lag_p99_s, percentile, post
from tests.support.process import ServerProcess

DIGITS = Path(__file__).parents[2] / "models" / "repository" / "digits"
VERSIONS = ("1", "1-int8")
RATE_PER_S = 200
SAMPLES = 4  # of resident memory, after so many swaps each: the least of them counts


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The shipped model with only the active version resident, so that each swap loads one version and closes one."""
    shutil.copytree(DIGITS, tmp_path / "repository" / "digits")
    config_file = tmp_path / "repository" / "digits" / "model.yaml"
    config = yaml.safe_load(config_file.read_text())
    config_file.write_text(yaml.safe_dump({**config, "versions": "active", "threads": 1}))
    return tmp_path / "repository"


@pytest.fixture
def client_core() -> Iterator[int | None]:
    """This process on the last core, so that the server has the first for itself; the server's core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield min(before) if len(before) > 1 else None
    os.sched_setaffinity(0, before)


class Golden:
    """What each version must answer: the golden rows and both versions' recorded outputs."""

    def __init__(self) -> None:
        files = {version: np.load(DIGITS / version / "golden.npz", allow_pickle=False) for version in VERSIONS}
        self.inputs = files["1"]["input/image"]
        self.outputs = {version: file["output/logits"] for version, file in files.items()}
        apart = np.abs(self.outputs["1"] - self.outputs["1-int8"]).max(axis=1)
        self.tolerance = float(apart.min()) / 2
        self.bodies = [
            post("/v2/models/digits/infer", json.dumps({"inputs": [self._tensor(row)]}).encode())
            for row in range(len(self.inputs))
        ]

    def _tensor(self, row: int) -> dict[str, object]:
        values = self.inputs[row : row + 1]
        return {"name": "image", "shape": list(values.shape), "datatype": "FP32", "data": values.ravel().tolist()}

    def request(self, index: int) -> bytes:
        return self.bodies[index % len(self.bodies)]

    def version_of(self, outcome: Outcome) -> str:
        """Who answered; fails unless the answer is that version's own, and not the other's."""
        assert outcome.status == 200, (outcome.status, outcome.body[:300])
        answer = json.loads(outcome.body)
        version = answer["model_version"]
        found = np.asarray(answer["outputs"][0]["data"], np.float32)
        for name in VERSIONS:
            near = np.abs(found - self.outputs[name][outcome.index % len(self.bodies)]).max() < self.tolerance
            assert near is np.bool_(name == version), (
                f"answer named {version} is {'' if near else 'not '}that of {name}"
            )
        return str(version)


def test_the_golden_rows_tell_the_versions_apart() -> None:
    golden = Golden()
    assert len(golden.bodies) >= 32
    assert golden.tolerance > 1e-4


@dataclass(frozen=True, slots=True)
class Round:
    """One stretch without swaps and the one with swaps behind it."""

    calm: list[Outcome]
    busy: list[Outcome]

    @property
    def ratio(self) -> float:
        """p99 with swaps to p99 without."""
        return _p99_s(self.busy) / _p99_s(self.calm)

    def __str__(self) -> str:
        return (
            f"p99 {_p99_s(self.calm) * 1e3:.2f} ms calm, {_p99_s(self.busy) * 1e3:.2f} ms during ({self.ratio:.2f}x), "
            f"lag p99 {lag_p99_s(self.busy) * 1e3:.2f} ms"
        )


@pytest.mark.parametrize(
    ("warm_ups", "rounds", "swaps", "seconds", "judged"),
    [(8, 1, 20, 8.0, False), pytest.param(30, 5, 20, 12.0, True, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
async def test_swaps_under_traffic(
    repository: Path,
    tmp_path: Path,
    client_core: int | None,
    warm_ups: int,
    rounds: int,
    swaps: int,
    seconds: float,
    judged: bool,
) -> None:
    """Latency is judged in the long form only, by the median of its rounds: in a short one a dozen requests decide."""
    golden = Golden()
    with ServerProcess(["--repository", str(repository)], tmp_path, core=client_core) as server:
        swapper = Swapper(server)
        await swapper.swap(warm_ups)
        await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=RATE_PER_S)
        driven = []
        for _ in range(rounds):
            calm = await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=int(RATE_PER_S * seconds / 2))
            busy, _ = await asyncio.gather(
                drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=int(RATE_PER_S * seconds)),
                swapper.swap(swaps, period_s=seconds / swaps),
            )
            driven.append(Round(calm, busy))
        resident_bytes = swapper.resident_bytes
        grown_bytes = min(resident_bytes[-SAMPLES:]) - min(resident_bytes[:warm_ups][-SAMPLES:])
        metrics = server.http.get("/metrics").text

    answered = {version: 0 for version in VERSIONS}
    during = [outcome for one in driven for outcome in one.busy]
    for outcome in during:
        answered[golden.version_of(outcome)] += 1
    ratio = statistics.median(one.ratio for one in driven)
    print(  # noqa: T201 - shown by `pytest -rP`, for docs/promises.md
        f"A1: {rounds * swaps} swaps, {len(during)} answers {answered}, p99 {ratio:.2f}x, "
        f"resident {grown_bytes / 2**20:+.1f} MiB, swap median {statistics.median(swapper.seconds) * 1e3:.0f} ms",
        *driven,
        sep="\n",
    )
    assert min(answered.values()) > 0.2 * len(during)
    assert f'retort_swaps{{model="digits",outcome="swapped"}} {rounds * swaps + warm_ups}' in metrics
    successes = [line for line in metrics.splitlines() if line.startswith("nv_inference_request_success{")]
    counted = sum(int(line.rpartition(" ")[2]) for line in successes)
    everything = RATE_PER_S + sum(len(one.calm) + len(one.busy) for one in driven)
    assert counted == everything, "a close of a version took answers out of the counters"
    assert grown_bytes <= 5 * 2**20
    if judged:
        lag_s = statistics.median(lag_p99_s(one.busy) for one in driven)
        assert lag_s <= LAG_LIMIT_S, "the client itself was late: the run says nothing of latency"
        assert ratio <= 1.5


class Swapper:
    """Swaps to and fro, from the loop that sends the requests: a thread beside it would make them late."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._connections = Connections(server.port)
        self.seconds: list[float] = []
        self.resident_bytes: list[int] = []

    async def swap(self, times: int, *, period_s: float = 0.0) -> None:
        """Swaps so many times, one each `period_s` or at once after the one before."""
        begin_s = time.perf_counter()
        for index in range(times):
            await asyncio.sleep(max(0.0, begin_s + index * period_s - time.perf_counter()))
            version = VERSIONS[(len(self.seconds) + 1) % len(VERSIONS)]
            request = post("/v2/repository/models/digits/swap", json.dumps({"version": version}).encode())
            began_s = time.perf_counter()
            status, body = await self._connections.exchange(request)
            self.seconds.append(time.perf_counter() - began_s)
            assert status == 200, (status, body)
            assert json.loads(body)["load_ms"] > 0, "it was resident: nothing was loaded"
            self.resident_bytes.append(self._server.resident_bytes())
        self._connections.close()


def _p99_s(outcomes: list[Outcome]) -> float:
    return percentile([one.latency_s for one in outcomes], 99)
