"""The order in which a server starts and stops; as a process it is tested in tests/fault."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from service.app import Server
from service.assembly import CannotStart
from service.repository.store import VersionFiles
from service.runtime.onnx import OnnxRunner
from service.runtime.trial_process import TrialAhead, TrialLimits
from tests.support.logs import capture_logs
from tests.unit.server_parts import one_model, settings
from tests.unit.serving.house import SlowBuild, until

# What the server cannot be without, and how many times as much its own import may take: 1.8, and 4 with one of torch.
LEAST, MOST_TIMES = "import fastapi, numpy, onnxruntime, pydantic_settings, uvicorn", 3.0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return one_model(tmp_path)


async def test_a_server_starts_says_so_answers_and_ends_at_a_signal(repository: Path, tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    server = Server(settings(repository), said.put_nowait)
    running = asyncio.ensure_future(server.run())
    line = await asyncio.wait_for(said.get(), 20)
    assert line.startswith("retort ready: http://127.0.0.1:")
    assert line.endswith("(models: m)")
    url = line.split()[2]
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/v2/health/ready")).status_code == 200
        answer = await client.post("/v2/models/m/infer", json=body)
        assert answer.json()["outputs"][0]["data"] == [2, 4, 6, 8]
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0


async def test_a_load_that_ends_while_the_server_drains_does_not_make_it_ready(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, said = SlowBuild(), asyncio.Queue[str]()
    monkeypatch.setattr(OnnxRunner, "load", slow)
    server = Server(settings(repository, drain_delay_s=60), said.put_nowait)
    running = asyncio.ensure_future(server.run())
    await until(lambda: server._catalog.models() == ["m"], within_s=20)
    signal.raise_signal(signal.SIGTERM)
    await until(server._ending.begun.is_set)
    slow.go.set()
    line = await asyncio.wait_for(said.get(), 20)
    assert line.startswith("retort not ready: ")
    assert line.endswith("(models: m): the server is draining")
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0


async def test_a_process_that_waited_for_a_trial_is_let_go_once_the_models_are_loaded(repository: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    ahead = TrialAhead(TrialLimits())
    assert ahead._process is not None
    waiting = ahead._process.popen
    running = asyncio.ensure_future(Server(settings(repository), said.put_nowait, ahead=ahead).run())
    await asyncio.wait_for(said.get(), 20)
    assert waiting.returncode is not None
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0


@pytest.mark.parametrize("held", [True, False])
async def test_a_server_without_a_model_warns_of_its_repository(repository: Path, tmp_path: Path, held: bool) -> None:
    (tmp_path / "empty").mkdir()
    said: asyncio.Queue[str] = asyncio.Queue()
    folder = repository if held else tmp_path / "empty"
    with capture_logs() as lines:
        running = asyncio.ensure_future(Server(settings(folder), said.put_nowait).run())
        await asyncio.wait_for(said.get(), 20)
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running, 20) == 0
    warned = [line["repository"] for line in lines if line["event"] == "no model is served"]
    assert warned == ([] if held else [[str(folder)]])


async def test_a_second_signal_cuts_the_drain_delay_short(repository: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    server = Server(settings(repository, drain_delay_s=60.0), said.put_nowait)
    running = asyncio.ensure_future(server.run())
    line = await asyncio.wait_for(said.get(), 20)
    signal.raise_signal(signal.SIGTERM)
    async with httpx.AsyncClient(base_url=line.split()[2]) as client:
        await asyncio.sleep(0)
        assert (await client.get("/v2/health/ready")).status_code == 503
        assert (await client.get("/v2/health/live")).status_code == 200
    signal.raise_signal(signal.SIGINT)
    assert await asyncio.wait_for(running, 20) == 0


async def test_a_signal_during_the_load_ends_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    server = Server(settings(repository), said.append)
    forever = asyncio.Event()
    loading = asyncio.Event()

    async def load(**_named: object) -> None:
        loading.set()
        await forever.wait()

    monkeypatch.setattr(server._catalog, "start", load)
    running = asyncio.ensure_future(server.run())
    await asyncio.wait_for(loading.wait(), 20)
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0
    assert said == []


async def test_a_part_that_gives_up_ends_the_server_with_1(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    server = Server(settings(repository), said.put_nowait)
    running = asyncio.ensure_future(server.run())
    await asyncio.wait_for(said.get(), 20)
    server._fatal("engines of this version keep hanging")
    assert await asyncio.wait_for(running, 20) == 1


@pytest.mark.parametrize("front", ["http_port", "grpc_port"])
async def test_a_port_that_is_taken_is_told_before_anything_is_loaded(repository: Path, front: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = Server(settings(repository, **{front: taken.getsockname()[1]}), pytest.fail)
        option = "--" + front.replace("_", "-")
        with pytest.raises(
            CannotStart, match=rf"^cannot listen on 127\.0\.0\.1:\d+: address already in use.*{option}$"
        ):
            await server.run()
        assert list(server._catalog.loaded()) == []


async def test_models_that_do_not_close_in_time_do_not_hold_the_end_up(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    server = Server(settings(repository, drain_timeout_s=0.05), said.put_nowait)
    running = asyncio.ensure_future(server.run())
    await asyncio.wait_for(said.get(), 20)
    monkeypatch.setattr(server._catalog, "close", asyncio.Event().wait)
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0


async def test_a_second_signal_waits_no_longer_for_models_to_close(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    server = Server(settings(repository, drain_timeout_s=300.0), said.put_nowait)
    running = asyncio.ensure_future(server.run())
    await asyncio.wait_for(said.get(), 20)
    closing = asyncio.Event()

    async def never() -> None:
        closing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(server._catalog, "close", never)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(closing.wait(), 20)
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0


async def test_a_second_signal_waits_no_longer_for_traces_to_leave(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    server = Server(settings(repository, trace_file=tmp_path / "traces.json", drain_timeout_s=300.0), said.put_nowait)
    running = asyncio.ensure_future(server.run())
    await asyncio.wait_for(said.get(), 20)
    loop, closing, asked_s, hangs = asyncio.get_running_loop(), asyncio.Event(), [], threading.Event()

    def never(timeout_s: float) -> None:
        asked_s.append(timeout_s)
        loop.call_soon_threadsafe(closing.set)
        hangs.wait(60)

    monkeypatch.setattr(server._traces, "close", never)
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(closing.wait(), 20)
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0
    assert asked_s == [5.0], "a collector that hangs may hold the end up for as long as requests may"
    hangs.set()


async def test_a_server_whose_models_did_not_load_does_not_say_that_it_is_ready(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "m" / "1" / "model.onnx").write_bytes(b"no model")
    said: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.ensure_future(Server(settings(repository), said.put_nowait).run())
    line = await asyncio.wait_for(said.get(), 20)
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) == 0
    assert line.startswith("retort not ready: http://127.0.0.1:")
    assert line.endswith(" (models: none): no model could be loaded")


async def test_models_that_fail_to_close_are_told_and_the_server_ends(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()

    async def fails() -> None:
        raise ValueError("planted")

    with capture_logs() as lines:
        server = Server(settings(repository), said.put_nowait)
        running = asyncio.ensure_future(server.run())
        await asyncio.wait_for(said.get(), 20)
        monkeypatch.setattr(server._catalog, "close", fails)
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running, 20) == 0
    assert "models did not close well" in [line["event"] for line in lines]


async def test_one_file_that_cannot_be_served_ends_the_server_with_its_reason(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with capture_logs() as lines:
        server = Server(settings(tmp_path / "broken.onnx"), pytest.fail)
        assert await asyncio.wait_for(server.run(), 20) == 1
    [line] = [line for line in lines if line["event"] == "giving up"]
    assert "model.onnx is not an ONNX file" in line["reason"]


async def test_the_server_ends_while_a_load_is_under_way(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, never, tried = threading.Event(), threading.Event(), []
    shutil.copytree(repository / "m" / "1", repository / "m" / "2")

    def slow(files: VersionFiles, _options: object, _cancel: object) -> None:
        tried.append(files.version)
        began.set()
        never.wait(100)

    monkeypatch.setattr("service.assembly.no_trial", slow)
    server = Server(settings(repository), pytest.fail)
    running = asyncio.ensure_future(server.run())
    assert await asyncio.to_thread(began.wait, 20)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await asyncio.wait_for(running, 40) == 0
    assert len(tried) == 1
    never.set()


WORKSHOP = {"torch", "onnx", "onnxscript", "sklearn", "models", "loadtests", "matplotlib"}
# What only some servers need, or none: a terminal's colours, gRPC (with its front alone), clients, keys, templates.
SELDOM = {"rich", "pygments", "attr", "typer", "structlog", "grpc", "google", "tritonclient", "httpx", "jinja2"}
SELDOM |= {"cryptography", "requests", "aiohttp", "ml_dtypes", "psutil", "opentelemetry.sdk", "opentelemetry.exporter"}


def imported_by(statement: str) -> tuple[float, set[str]]:
    """CPU seconds, and the packages and their parts that are there then, of a fresh interpreter."""
    parts = "{'.'.join(name.split('.')[:length]) for name in sys.modules for length in (1, 2)}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", f"import sys, time; {statement}; print(time.process_time()); print(*{parts})"]
    took, names = subprocess.run(command, capture_output=True, text=True, check=True, env=clean).stdout.splitlines()
    return float(took), set(names.split())


def test_the_server_imports_neither_the_workshop_nor_what_few_need_and_starts_quickly() -> None:
    """The quickest of three, measured by turns, since others may keep the machine busy."""
    turns = [(imported_by("import service.app"), imported_by(LEAST)) for _ in range(3)]
    assert not turns[0][0][1] & (WORKSHOP | SELDOM)
    whole_s, least_s = (min(seconds for seconds, _ in side) for side in zip(*turns, strict=True))
    assert whole_s < MOST_TIMES * least_s


def test_what_few_need_would_be_found() -> None:
    _, modules = imported_by("import rich, service.app, opentelemetry.sdk")
    assert modules & SELDOM == {"rich", "opentelemetry.sdk"}
