"""Faults planted in a server that is scripted: a stall that a closed loop hides, and a known added latency."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import uvloop

from loadtests import arrivals
from loadtests.comparison import Contender, Plan, compare
from loadtests.generator.block import OK, Block
from loadtests.generator.process import Generator
from loadtests.generator.sender import Sender
from loadtests.knees import find_knees
from loadtests.measures.observed import Observed, ServerSide, by_version
from loadtests.measures.summary import lag_p99_ms
from loadtests.pools import Pool, Rows, Signature, requests_of
from loadtests.report.timeline import stalls
from loadtests.server import Server
from loadtests.verdict import versus
from tests.support.scripted import Act, Scripted, answer, logits

SIGNATURE = Signature({"image": "FP32"}, {"logits": "FP32"})
STALL_S = 0.5
TRIES = 3  # others use the machine, too
GOOD = Act(answer(b"{}"))


def pool(address: tuple[str, int], version: str) -> Pool:
    rows = Rows({"image": np.zeros((4, 1, 8, 8), np.float32)})
    path = f"/{version}"
    return Pool(address, requests_of(rows, SIGNATURE, host="x", path=path, encoding="binary"), rows, SIGNATURE, "", "")


def latency_ms(block: Observed) -> np.ndarray:
    """Of every answer; these servers' bodies are no answers of the protocol, and that is not the question here."""
    return block.sent.latency_s[block.sent.status == OK] * 1e3


def stalling(at_request: int) -> Scripted:
    def script(number: int, _: bytes, __: bytes) -> Act:
        if number == at_request:
            time.sleep(STALL_S)  # the whole server stands still, as in a pause of its collector
        return GOOD

    return Scripted(script)


def closed_loop_ms(address: tuple[str, int], lasts_s: float) -> np.ndarray:
    """What a client measures that sends its next request when it has the answer to the last."""

    async def ask() -> list[float]:
        reader, writer = await asyncio.open_connection(*address)
        request, taken, end = pool(address, "m").requests[0], [], time.perf_counter() + lasts_s
        while (began := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
            taken.append((time.perf_counter() - began) * 1e3)
        writer.close()
        await writer.wait_closed()
        return taken

    return np.array(asyncio.run(ask()))


def test_a_stall_shows_in_the_tail_and_in_the_timeline() -> None:
    with stalling(200) as server, Generator() as generator:
        generator.prepare({"m": pool(server.address, "m")})
        planned = np.arange(600) / 200
        sent = generator.send(Block("m", planned, np.zeros(600, np.int32), 5.0))
    block = Observed("m", 0, sent, 3.0, ServerSide())
    assert (sent.status == OK).all()
    assert np.percentile(latency_ms(block), 99.9) >= STALL_S * 900
    late = latency_ms(block) > STALL_S * 200
    assert late.sum() >= STALL_S * 200 * 0.6  # all that were due meanwhile, not only the one that stood
    sent.checked[:] = -1  # these bodies are no answers of the protocol
    told = [found.at_s for found in stalls([block], sent.began_s)]  # others may be the machine's own
    assert any(at_s == pytest.approx(1.0, abs=0.4) for at_s in told), told


def test_a_closed_loop_hides_the_same_stall() -> None:
    """The negative control of the open loop: hundreds of quick answers around the one that stood."""
    with stalling(200) as server:
        taken = closed_loop_ms(server.address, 2.0)
    assert taken.max() >= STALL_S * 900 and len(taken) > 400
    assert (taken > STALL_S * 200).sum() <= 3
    assert np.percentile(taken, 99) < STALL_S * 200


@contextmanager
def contenders(times: float) -> Iterator[list[Contender]]:
    """Two versions of a scripted server that waits 20 ms and some, the second `times` as long."""
    random = np.random.default_rng(0)

    def script(_: int, head: bytes, __: bytes) -> Act:
        factor = times if head.startswith(b"POST /second ") else 1.0
        return Act(answer(b"{}"), wait_s=factor * 0.02 * float(np.exp(random.normal(0, 0.2))))

    with Scripted(script) as scripted, Server(f"http://127.0.0.1:{scripted.port}") as server:
        yield [Contender(name, server, "m", name, pool(scripted.address, name)) for name in ("first", "second")]


def run(times: float, generator: Generator, seed: int, rounds: int = 12) -> str:
    plan = Plan(arrivals.steady(100, 0.4), arrivals.poisson, rounds, seed, timeout_s=2.0)
    with contenders(times) as both:
        seen = compare(both, plan, generator, sleep=lambda _: None)
    for block in seen:
        block.sent.checked[:] = -1
    found = by_version(seen)
    return versus(found["second"], found["first"], agreement=None).difference


def test_a_real_run_finds_half_as_much_again() -> None:
    with Generator() as generator:
        assert any(run(1.5, generator, seed, rounds=8) == "slower" for seed in range(TRIES))


@contextmanager
def holding(rate: float) -> Iterator[Contender]:
    """A version of a scripted server that answers so many requests a second, one after the other."""
    free_s, said = 0.0, logits(np.zeros((1, 10), np.float32))

    def script(_: int, __: bytes, ___: bytes) -> Act:
        nonlocal free_s
        now_s = time.monotonic()
        free_s = max(free_s, now_s) + 1 / rate
        return Act(said, wait_s=free_s - now_s)

    with Scripted(script) as scripted, Server(f"http://127.0.0.1:{scripted.port}") as server:
        yield Contender("m", server, "m", "m", pool(scripted.address, "m"))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_planted_knee_is_found_by_a_real_search() -> None:
    """Never above what the server holds; other work on the machine may make it less, and the interval must say so."""
    with holding(200) as one, Generator() as generator:
        found, ended = find_knees([one], generator, limit_ms=60, seed=0)
    knee = found["m"]
    assert ended and knee.rate is not None and knee.interval is not None
    assert knee.rate <= 210 and (knee.rate >= 150 or not knee.settled), knee


@contextmanager
def responder(request: bytes, core: int) -> Iterator[tuple[str, int]]:
    """A responder that is quicker than any server of models, on a core of its own."""
    command = [sys.executable, "-m", "tests.support.fast_responder", str(len(request)), str(core)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield "127.0.0.1", int(process.stdout.readline())
        process.stdin.close()


def test_a_request_costs_the_generator_little_time_of_its_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU time, which other work on the machine does not stretch: 3,000 requests a second leave most of a core."""
    monkeypatch.setattr("loadtests.generator.http_transport.MOST_CONNECTIONS", 16)
    made, count = pool(("127.0.0.1", 0), "m"), 10_000
    spent_s = []
    with responder(made.requests[0], min(os.sched_getaffinity(0))) as address:
        for _ in range(TRIES):
            sender = Sender(address, made.requests, Block("m", np.zeros(count), np.zeros(count, np.int32), 60.0))
            before_s = time.process_time()
            sent = uvloop.run(sender.run())
            spent_s.append(time.process_time() - before_s)
            assert (sent.status == OK).all()
    assert min(spent_s) / count < 150e-6


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("times", "wanted"), [(1.0, "no difference"), (1.1, "slower")])
def test_twenty_real_runs(times: float, wanted: str) -> None:
    with Generator() as generator:
        found = [run(times, generator, seed, rounds=20) for seed in range(20)]
    assert found.count(wanted) >= 18, found


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="server and generator need a core each")
def test_the_generator_holds_3000_requests_a_second_on_one_core() -> None:
    """Against a responder that is quicker than any server of models, so that the generator is what is measured."""
    one, other, *_ = sorted(os.sched_getaffinity(0))
    made = pool(("127.0.0.1", 0), "v2/models/digits/versions/1/infer")
    with responder(made.requests[0], one) as address:
        planned = arrivals.poisson(arrivals.steady(3000, 10), np.random.default_rng(0))
        with Generator([other]) as generator:
            generator.prepare({"m": pool(address, "v2/models/digits/versions/1/infer")})
            sent = generator.send(Block("m", planned, np.zeros(len(planned), np.int32)))
    block = Observed("m", 0, sent, 10.0, ServerSide())
    told = f"lag p99 {lag_p99_ms([block]):.2f} ms, p99 {np.percentile(latency_ms(block), 99):.2f} ms, {block.errors()}"
    assert (sent.status == OK).mean() > 0.999, told
    assert lag_p99_ms([block]) < 5, told
