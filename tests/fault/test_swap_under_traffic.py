"""Swaps under traffic: nothing fails, every answer is that of the version it names, memory stays flat (promise A1)."""

import asyncio
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from tests.support.openloop import LAG_LIMIT_S, Outcome, drive, lag_p99_s, percentile, post
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


@pytest.mark.parametrize(
    ("warm_ups", "swaps", "seconds", "judged"),
    [(8, 20, 8.0, False), pytest.param(30, 100, 60.0, True, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
async def test_swaps_under_traffic(
    repository: Path, tmp_path: Path, client_core: int | None, warm_ups: int, swaps: int, seconds: float, judged: bool
) -> None:
    """Latency is judged in the long form only: in the short one a dozen requests decide it."""
    golden = Golden()
    with ServerProcess(["--repository", str(repository)], tmp_path, core=client_core) as server:
        swap = Swapper(server)
        for _ in range(warm_ups):
            swap.next()
        await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=200)
        calm = await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=RATE_PER_S * (4 if judged else 1))
        with ThreadPoolExecutor(1) as pool:
            swapping = asyncio.get_running_loop().run_in_executor(pool, swap.every, seconds / swaps, swaps)
            busy = await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=int(RATE_PER_S * seconds))
            await swapping
        grown_bytes = min(swap.resident_bytes[-SAMPLES:]) - min(swap.resident_bytes[:warm_ups][-SAMPLES:])
        metrics = server.http.get("/metrics").text

    answered = {version: 0 for version in VERSIONS}
    for outcome in busy:
        answered[golden.version_of(outcome)] += 1
    p99_calm_s, p99_busy_s = (percentile([one.latency_s for one in run], 99) for run in (calm, busy))
    print(  # noqa: T201 - shown by `pytest -rP`, for docs/promises.md
        f"A1: {swaps} swaps, {len(busy)} answers {answered}, p99 {p99_calm_s * 1e3:.2f} ms calm, "
        f"{p99_busy_s * 1e3:.2f} ms during ({p99_busy_s / p99_calm_s:.2f}x), resident {grown_bytes / 2**20:+.1f} MiB, "
        f"swap median {statistics.median(swap.seconds) * 1e3:.0f} ms, lag p99 {lag_p99_s(busy) * 1e3:.2f} ms"
    )
    assert min(answered.values()) > 0.2 * len(busy)
    assert f'retort_swaps{{model="digits",outcome="swapped"}} {swaps + warm_ups}' in metrics
    successes = [line for line in metrics.splitlines() if line.startswith("nv_inference_request_success{")]
    counted = sum(int(line.rpartition(" ")[2]) for line in successes)
    assert counted == 200 + len(calm) + len(busy), "a close of a version took answers out of the counters"
    assert grown_bytes <= 5 * 2**20
    if judged:
        assert lag_p99_s(busy) <= LAG_LIMIT_S, "the client itself was late: the run says nothing of latency"
        assert p99_busy_s <= 1.5 * p99_calm_s


class Swapper:
    """Swaps to and fro."""

    def __init__(self, server: ServerProcess) -> None:
        self.client = httpx.Client(base_url=server.url, timeout=30)
        self.count = 0
        self.server = server
        self.seconds: list[float] = []
        self.resident_bytes: list[int] = []

    def next(self) -> None:
        self.count += 1
        began_s = time.perf_counter()
        answer = self.client.post(
            "/v2/repository/models/digits/swap", json={"version": VERSIONS[self.count % len(VERSIONS)]}
        )
        self.seconds.append(time.perf_counter() - began_s)
        assert answer.status_code == 200, answer.text
        assert answer.json()["load_ms"] > 0, "it was resident: nothing was loaded"
        self.resident_bytes.append(self.server.resident_bytes())

    def every(self, period_s: float, times: int) -> None:
        begin_s = time.perf_counter()
        for index in range(times):
            time.sleep(max(0.0, begin_s + index * period_s - time.perf_counter()))
            self.next()
        self.client.close()
