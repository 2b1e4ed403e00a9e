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
HANG_S = 60.0  # how long what hangs would hang; no test waits nearly as long, on however slow a machine


class Counted:
    """A runner that notes its end."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    omitted_outputs: tuple[str, ...] = ()
    provider = "cpu"

    def __init__(self) -> None:
        self.running = threading.Event()
        self.stopped = threading.Event()
        self.closes = 0

    def run(self, arrays: Arrays) -> dict[str, Array]:
        self.running.set()
        if self.stopped.wait(HANG_S):
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
def long_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends only after the grace is found out: by then a test has failed."""
    monkeypatch.setattr(load_job, "GRACE_S", HANG_S)


def job(work: Callable[[LoadJob[str]], str], *, given_up_after: threading.Event | None = None) -> LoadJob[str]:
    """A job that is given up once `given_up_after` is set, if its time is over by then."""
    made = LoadJob(WHAT, work)
    if given_up_after is not None:
        give_up = made._give_up

        def give_up_later() -> bool:
            assert given_up_after.wait(HANG_S / 2)
            return give_up()

        made._give_up = give_up_later  # type: ignore[method-assign]
    return made


async def test_a_load_that_ends_gives_its_result_and_keeps_its_runners(runner: Counted) -> None:
    def work(job: LoadJob[str]) -> str:
        assert job.keep(runner) is runner
        return threading.current_thread().name

    assert await job(work).within(HANG_S) == f"load {WHAT}"
    assert runner.closes == 0


async def test_a_load_that_fails_closes_every_runner_it_had(runner: Counted) -> None:
    other = Counted()

    def work(job: LoadJob[str]) -> str:
        job.keep(runner)
        job.keep(other)
        raise BadModel("planted")

    with pytest.raises(BadModel, match="planted"):
        await job(work).within(HANG_S)
    assert (runner.closes, other.closes) == (1, 1)


async def test_a_runner_that_does_not_close_well_keeps_none_open_and_hides_no_reason(runner: Counted) -> None:
    class Stubborn(Counted):
        def close(self) -> None:
            raise OSError("it will not go")

    def work(job: LoadJob[str]) -> str:
        for one in (runner, Stubborn(), runner):
            job.keep(one)
        raise BadModel("planted")

    with pytest.raises(BadModel, match="planted"):
        await job(work).within(HANG_S)
    assert runner.closes == 2


async def test_a_load_that_is_late_is_asked_to_end_and_its_run_is_stopped(runner: Counted) -> None:
    def work(job: LoadJob[str]) -> str:
        job.keep(runner).run({})
        return "too late"

    began_s = time.monotonic()
    with pytest.raises(Stuck, match=rf"^{WHAT} did not load within 0\.05 s$"):
        await job(work, given_up_after=runner.running).within(0.05)
    assert time.monotonic() - began_s < HANG_S / 2
    assert runner.stopped.is_set()
    assert runner.closes == 1


async def test_a_load_that_looks_at_its_flag_ends_by_itself(runner: Counted) -> None:
    def work(job: LoadJob[str]) -> str:
        job.cancel.wait(HANG_S)
        job.keep(runner)  # built just before anyone knew: not leaked
        return "never"

    with pytest.raises(Stuck, match="did not load within"):
        await job(work).within(0.05)
    assert runner.closes == 1


async def test_a_load_that_ignores_everything_is_left_behind_and_cleans_up_when_it_ends(
    runner: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_job, "GRACE_S", 0.2)
    go = threading.Event()

    def work(job: LoadJob[str]) -> str:
        go.wait(HANG_S)
        job.keep(runner)
        return "never"

    began_s = time.monotonic()
    with pytest.raises(Stuck, match="did not load within"):
        await job(work).within(0.05)
    assert 0.2 < time.monotonic() - began_s < HANG_S / 2
    assert runner.closes == 0
    go.set()
    await until(lambda: runner.closes == 1, within_s=30.0)


async def test_a_load_that_keeps_no_more_runners_but_ends_after_giving_up_is_late_all_the_same(runner: Counted) -> None:
    kept = threading.Event()

    def work(job: LoadJob[str]) -> str:
        job.keep(runner)
        kept.set()
        job.cancel.wait(HANG_S)
        return "its work was done, its time was not"

    with pytest.raises(Stuck, match="did not load within"):
        await job(work, given_up_after=kept).within(0.05)
    assert runner.closes == 1


async def test_a_load_that_ends_in_the_moment_it_would_be_given_up_has_ended(
    runner: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def work(job: LoadJob[str]) -> str:
        job.keep(runner)
        return "just in time"

    late = job(work, given_up_after=ended)
    run = late._run

    def run_and_tell() -> str:
        try:
            return run()
        finally:
            ended.set()

    monkeypatch.setattr(late, "_run", run_and_tell)
    assert await late.within(0.0) == "just in time"
    assert not late.cancel.is_set()
    assert runner.closes == 0
