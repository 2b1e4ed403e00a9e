"""Whatever a model's process does, it harms its own version alone (promise I8): a real server, real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
import pytest
from onnx import TensorProto, helper

from tests.support.hostile_models import DEEDS, DIES, FOLDER, NEVER_LOADS
from tests.support.live_watch import LiveWatch
from tests.support.process import ServerProcess
from tests.support.waiting import until
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value
from tests.unit.runtime.isolation.runners import alive

MIB = 1 << 20
MEMORY_MIB = 64
RUN_TIMEOUT_S, GRACE_S = 0.5, 2.0  # of an engine; the third that is given up within a minute ends the server
TURNS = 3  # as many engines given up within a minute end the server
ROW = [1.0, 2.0, 3.0, 4.0]


def same(name: str) -> bytes:
    """Answers what it gets as `name`."""
    nodes = [helper.make_node("Identity", [name], ["y"])]
    return graphs.model(nodes, [value(name, TensorProto.FLOAT, ["N", 4])], [value("y", TensorProto.FLOAT, ["N", 4])])


class Answer(NamedTuple):
    """What was said, and how long it took."""

    status: int
    said: Any
    took_s: float


class Hostile:
    """A server, and what its models' processes are to do.

    Args:
        folder: for its files.
        models: that it serves; the first input of each is called as it is.
        isolation: of all.
    """

    def __init__(self, folder: Path, models: list[str], isolation: object) -> None:
        self.models = models
        self.deeds = folder / "deeds"
        self.deeds.mkdir()
        for name in models:
            version = folder / "repository" / name / "1"
            version.mkdir(parents=True)
            (version / "model.onnx").write_bytes(same(name))
            (version.parent / "model.yaml").write_text(json.dumps({"threads": 1, "isolation": isolation}))
        self.server = ServerProcess(
            ["--repository", str(folder / "repository")],
            folder,
            env={"RETORT_RUN_TIMEOUT_S": str(RUN_TIMEOUT_S)},
            program=("tests.support.hostile_models", str(self.deeds)),
        )

    def ask(self, model: str) -> Answer:
        """By a connection of its own, on any thread."""
        tensor = {"name": model, "shape": [1, 4], "datatype": "FP32", "data": ROW}
        began_s = time.monotonic()
        with closing(HTTPConnection("127.0.0.1", self.server.port, timeout=60)) as connection:
            connection.request("POST", f"/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}))
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()), time.monotonic() - began_s)

    def is_right(self, model: str) -> bool:
        status, said, _ = self.ask(model)
        return status == 200 and said["outputs"][0]["data"] == ROW

    def turn(self, model: str, deed: str) -> None:
        """From its next run, or load, it does that; "" for nothing wrong."""
        (self.deeds / f"{model}.new").write_text(deed)
        (self.deeds / f"{model}.new").rename(self.deeds / model)

    def family(self) -> list[psutil.Process]:
        """All that come from the cradle and live, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = process.environ().get(FOLDER) == str(self.deeds)
                if mine and process.pid != self.server.process.pid and alive(process):
                    found.append(process)
        return found


@contextmanager
def hostile(folder: Path, models: list[str], isolation: object) -> Iterator[Hostile]:
    made = Hostile(folder, models, isolation)
    try:
        with made.server:
            yield made
    finally:
        left = made.family()
        for process in left:
            process.kill()
    assert not left, "a process outlived the server"


def kill_all(world: Hostile) -> None:
    [cradle] = psutil.Process(world.server.process.pid).children()
    for child in cradle.children():
        with suppress(psutil.NoSuchProcess):
            child.kill()


def stop_all(world: Hostile) -> None:
    [cradle] = psutil.Process(world.server.process.pid).children()
    for child in cradle.children():
        with suppress(psutil.NoSuchProcess):
            child.suspend()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """One server for all that it survives."""
    isolation = {"process": {"memory_bytes": MEMORY_MIB * MIB}}
    with hostile(tmp_path_factory.mktemp("hostile"), ["bad", "good"], isolation) as made:
        yield made


@pytest.mark.parametrize("deed", [*DEEDS, DIES])
def test_a_process_that_turns_harms_its_own_version_alone(world: Hostile, deed: str) -> None:
    until(lambda: world.is_right("bad") and world.is_right("good"), "they do not answer")
    before_bytes = world.server.resident_bytes()
    world.turn("bad", deed)
    took_s, others_took_s = [], []
    with LiveWatch(world.server.port) as live:
        for _ in range(TURNS):
            answer = world.ask("bad")
            assert answer.status in (200, 500, 503), answer
            assert "could not be stopped" not in str(answer.said)
            took_s.append(answer.took_s)
            others_took_s.append(until(lambda: world.is_right("good"), "another version does not answer"))
        world.turn("bad", "")
        until(lambda: world.is_right("bad"), "it does not come back")
    assert median(took_s) < 4 * (RUN_TIMEOUT_S + GRACE_S)
    assert median(others_took_s) < RUN_TIMEOUT_S + GRACE_S
    live.check_prompt()
    assert world.server.resident_bytes() - before_bytes < MEMORY_MIB * MIB
    kill_all(world)
    until(lambda: world.is_right("bad") and world.is_right("good"), "they do not come back")
    until(lambda: len(world.family()) == 3, "what it left behind is there")  # the cradle, and one for each model
    until(lambda: world.server.http.get("/v2/health/ready").status_code == 200, "it is not ready")


def test_one_that_dies_and_never_loads_again_ends_no_server(world: Hostile) -> None:
    """Whose run waits for a load is stopped in its time, and costs no engine; the load is one for all of them."""
    world.turn("bad", DIES)
    until(lambda: world.ask("bad").status == 500, "it does not die")
    world.turn("bad", NEVER_LOADS)
    for _ in range(TURNS):
        answer = world.ask("bad")
        assert answer.status == 503
        assert "could not be stopped" not in str(answer.said)
        until(lambda: world.is_right("good"), "another version does not answer")
        assert len(world.family()) <= 3
    world.turn("bad", "")
    kill_all(world)
    until(lambda: world.is_right("bad"), "it does not come back")


@pytest.mark.parametrize("deed", ["forks", "forks and hangs", "lets go of its lifeline"])
def test_nothing_outlives_a_server_that_is_killed(tmp_path: Path, deed: str) -> None:
    with hostile(tmp_path, ["bad"], "process") as world:
        world.turn("bad", deed)
        world.ask("bad")
        stop_all(world)
        world.server.kill()
        until(lambda: not world.family(), "a process outlived the server")


def kill_the_cradle_and_all(world: Hostile) -> None:
    for process in world.family():
        process.kill()


@pytest.mark.parametrize("harm", [kill_all, stop_all, kill_the_cradle_and_all], ids=lambda harm: harm.__name__)
def test_many_at_once(many: Hostile, harm: Callable[[Hostile], None]) -> None:
    """Models whose processes all end, or stand still, at once, while each is asked: each has its answer."""
    models = many.models
    with LiveWatch(many.server.port) as live, ThreadPoolExecutor(len(models)) as pool:
        until(lambda: all(pool.map(many.is_right, models)), "they do not answer", 60)
        harm(many)
        answers = list(pool.map(many.ask, models))
        assert {answer.status for answer in answers} <= {200, 503}
        until(lambda: all(pool.map(many.is_right, models)), "they do not come back", 60)
    live.check_prompt()
    assert len(many.family()) == len(models) + 1


@pytest.fixture(scope="module", params=[12, pytest.param(50, marks=pytest.mark.slow)])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """A server of many isolated models."""
    models = [f"m{number}" for number in range(request.param)]
    with hostile(tmp_path_factory.mktemp("many"), models, {"process": {"memory_bytes": MEMORY_MIB * MIB}}) as made:
        yield made
