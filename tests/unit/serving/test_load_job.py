"""A load that takes too long is given up in bounded time, and no runner is left open whatever happens when."""

import threading
import time
from collections.abc import Callable

import pytest

from service.core.contract import Array, Arrays, TensorSpec
from service.core.errors import BadModel, Stuck
from service.serving import load_job
from service.serving.load_job import LoadJob
from tests.unit.serving.house import until

WHAT = "version '1' of model 'm'"


class Counted:
    """A runner that notes its end."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    omitted_outputs: tuple[str, ...] = ()
    provider = "cpu"

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.closes = 0

    def run(self, arrays: Arrays) -> dict[str, Array]:
        if self.stopped.wait(10):
            raise Stuck("stopped")
        return dict(arrays)

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.closes += 1


@pytest.fixture
def runner() -> Counted:
    return Counted()


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_job, "GRACE_S", 0.2)


def job(work: Callable[[LoadJob[str]], str]) -> LoadJob[str]:
    return LoadJob(WHAT, work)


async def test_a_load_that_ends_gives_its_result_and_keeps_its_runners(runner: Counted) -> None:
    def work(job: LoadJob[str]) -> str:
        assert job.keep(runner) is runner
        return threading.current_thread().name

    assert await job(work).within(5) == f"load {WHAT}"
    assert runner.closes == 0


async def test_a_load_that_fails_closes_every_runner_it_had(runner: Counted) -> None:
    other = Counted()

    def work(job: LoadJob[str]) -> str:
        job.keep(runner)
        job.keep(other)
        raise BadModel("planted")

    with pytest.raises(BadModel, match="planted"):
        await job(work).within(5)
    assert (runner.closes, other.closes) == (1, 1)


async def test_a_load_that_is_late_is_asked_to_end_and_its_run_is_stopped(runner: Counted) -> None:
    def work(job: LoadJob[str]) -> str:
        job.keep(runner).run({})
        return "too late"

    began_s = time.monotonic()
    with pytest.raises(Stuck, match=rf"^{WHAT} did not load within 0\.05 s$"):
        await job(work).within(0.05)
    assert time.monotonic() - began_s < 0.2
    assert runner.closes == 1


async def test_a_load_that_looks_at_its_flag_ends_by_itself(runner: Counted) -> None:
    def work(job: LoadJob[str]) -> str:
        job.cancel.wait(10)
        job.keep(runner)  # built just before anyone knew: not leaked
        return "never"

    with pytest.raises(Stuck, match="did not load within"):
        await job(work).within(0.05)
    assert runner.closes == 1


async def test_a_load_that_ignores_everything_is_left_behind_and_cleans_up_when_it_ends(runner: Counted) -> None:
    go = threading.Event()

    def work(job: LoadJob[str]) -> str:
        go.wait(10)
        job.keep(runner)
        return "never"

    began_s = time.monotonic()
    with pytest.raises(Stuck, match="did not load within"):
        await job(work).within(0.05)
    assert 0.2 < time.monotonic() - began_s < 1.0
    assert runner.closes == 0
    go.set()
    await until(lambda: runner.closes == 1)


async def test_a_load_that_keeps_no_more_runners_but_ends_after_giving_up_is_late_all_the_same(runner: Counted) -> None:
    def work(job: LoadJob[str]) -> str:
        job.keep(runner)
        job.cancel.wait(10)
        return "its work was done, its time was not"

    with pytest.raises(Stuck, match="did not load within"):
        await job(work).within(0.05)
    assert runner.closes == 1


async def test_a_load_that_ends_in_the_moment_it_would_be_given_up_has_ended(
    runner: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def work(job: LoadJob[str]) -> str:
        job.keep(runner)
        return "just in time"

    late = job(work)
    give_up = late._give_up

    def give_up_later() -> bool:
        ended.wait(5)
        return give_up()

    run = late._run

    def run_and_tell() -> str:
        try:
            return run()
        finally:
            ended.set()

    monkeypatch.setattr(late, "_give_up", give_up_later)
    monkeypatch.setattr(late, "_run", run_and_tell)
    assert await late.within(0.0) == "just in time"
    assert not late.cancel.is_set()
    assert runner.closes == 0
