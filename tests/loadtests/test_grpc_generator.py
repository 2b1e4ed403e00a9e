"""The generator over gRPC: against the real server, and against servers that stall, refuse, lie and vanish."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from loadtests.generator.block import GRPC, NOT_CONNECTED, OK, RIGHT, UNANSWERED, WRONG, Block, Sent
from loadtests.generator.grpc_transport import METHOD, with_metadata
from loadtests.generator.process import Generator
from loadtests.generator.sender import Sender
from loadtests.grpc_messages import messages_of
from loadtests.measures.observed import Observed, ServerSide
from loadtests.pools import Pool, Rows, Signature
from tests.support.process import ServerProcess

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"
STALL_S, TRIES = 0.5, 3
SIGNATURE = Signature({"image": "FP32"}, {"logits": "FP32"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(["--repository", str(REPOSITORY)], tmp_path_factory.mktemp("grpc"), core=0) as running:
        yield running


def golden_pool(grpc_address: str, version: str, *, expected_of: str, named: str | None = None) -> Pool:
    with np.load(REPOSITORY / "digits" / expected_of / "golden.npz") as file:
        rows = Rows({"image": file["input/image"]}, expected={"logits": file["output/logits"]})
    host, port = grpc_address.rsplit(":", 1)
    messages = messages_of(rows, SIGNATURE, model="digits", version=version)
    return Pool((host, int(port)), messages, rows, SIGNATURE, "logits", named or version, protocol="grpc")


def block(pool: Pool, rate: float, lasts_s: float) -> Block:
    planned = np.arange(int(rate * lasts_s)) / rate
    return Block("p", planned, (np.arange(len(planned)) % len(pool.rows)).astype(np.int32), 5.0)


def test_every_answer_of_the_real_server_is_right(server: ServerProcess) -> None:
    pool = golden_pool(server.grpc, "1-int8", expected_of="1-int8")
    with Generator() as generator:
        generator.prepare({"p": pool})
        sent = generator.send(block(pool, 200, 1))
    assert (sent.status == OK).all()
    assert (sent.checked == RIGHT).all()
    assert (sent.classes == pool.rows.expected["logits"].argmax(1)[sent.rows]).all()
    assert (sent.sent_s >= sent.planned_s).all() and (sent.done_s > sent.sent_s).all()


@pytest.mark.parametrize(("expected_of", "named"), [("1", "1-int8"), ("1-int8", "1")])
def test_another_answer_or_another_version_than_asked_is_wrong(
    server: ServerProcess, expected_of: str, named: str
) -> None:
    pool = golden_pool(server.grpc, "1-int8", expected_of=expected_of, named=named)
    with Generator() as generator:
        generator.prepare({"p": pool})
        sent = generator.send(block(pool, 100, 0.5))
    assert (sent.status == OK).all()
    assert (sent.checked == WRONG).mean() > 0.9


def test_a_refusal_is_told_by_its_code_and_named_in_the_errors(server: ServerProcess) -> None:
    pool = golden_pool(server.grpc, "no-such", expected_of="1")
    with Generator() as generator:
        generator.prepare({"p": pool})
        sent = generator.send(block(pool, 100, 0.2))
    assert (sent.status == GRPC + grpc.StatusCode.NOT_FOUND.value[0]).all()
    assert dict(Observed("x", 0, sent, 0.2, ServerSide()).errors()) == {"gRPC status 5": 20}


@contextmanager
def serving(answer: Callable[[bytes, grpc.ServicerContext], bytes], port: int = 0) -> Iterator[tuple[str, int]]:
    """A gRPC server whose ModelInfer is this function of bytes."""
    one = grpc.server(ThreadPoolExecutor(8))
    service, method = METHOD.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(answer)
    one.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = one.add_insecure_port(f"127.0.0.1:{port}")
    one.start()
    try:
        yield "127.0.0.1", port
    finally:
        one.stop(0).wait()


def send(address: tuple[str, int], to_send: Block, metadata: tuple[tuple[str, str], ...] = ()) -> Sender:
    sender = Sender(address, [b"hello"], to_send, with_metadata(metadata))
    sender.sent = asyncio.run(sender.run())  # type: ignore[attr-defined]
    return sender


def plan(count: int, apart_s: float, timeout_s: float) -> Block:
    return Block("p", np.arange(count) * apart_s, np.zeros(count, np.int32), timeout_s)


def test_a_stalled_server_delays_no_request_and_its_wait_is_counted_from_the_planned_time() -> None:
    assert any(most_lag_s() < STALL_S / 2 for _ in range(TRIES))  # all were written while the first was stalled


def most_lag_s() -> float:
    """Of twenty requests to a server that stands still from the first on; the machine may be late, too."""
    began, over = threading.Lock(), threading.Event()

    def answer(body: bytes, _context: grpc.ServicerContext) -> bytes:
        if began.acquire(blocking=False):
            threading.Timer(STALL_S, over.set).start()
        over.wait(20)
        return body

    with serving(answer) as address:
        sent = send(address, plan(20, 0.01, 20.0)).sent
    assert (sent.status == OK).all()
    assert sent.latency_s[0] > STALL_S * 0.7 and sent.latency_s[10] > STALL_S * 0.4
    return float(np.nanmax(sent.lag_s))


def test_an_answer_after_the_timeout_is_none_and_the_block_ends() -> None:
    release = threading.Event()
    with serving(lambda body, _context: body * release.wait(10)) as address:
        sent = send(address, plan(3, 0.01, 0.3)).sent
        release.set()
    assert (sent.status == UNANSWERED).all()
    assert np.isnan(sent.done_s).all()


def test_a_key_travels_as_metadata() -> None:
    seen: list[object] = []

    def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        return body

    with serving(answer) as address:
        sender = send(address, plan(2, 0.01, 5.0), (("authorization", "Bearer k"),))
    assert seen == ["Bearer k"] * 2
    assert [one.body for one in sender.answers if one] == [b"hello"] * 2


def test_a_server_that_is_back_after_a_while_is_found_soon() -> None:
    """Of its own gRPC looks again after 1, 1.6, 2.6, ... seconds, and fails all calls meanwhile."""

    async def away_for_a_while() -> Sent:
        begun = asyncio.create_task(sender.run())
        await asyncio.sleep(0.5)
        stack.close()
        await asyncio.sleep(3)
        stack.enter_context(serving(lambda body, _context: body, address[1]))
        return await begun

    with ExitStack() as stack:
        address = stack.enter_context(serving(lambda body, _context: body))
        sender = Sender(address, [b"hello"], plan(120, 0.05, 10.0), with_metadata(()))
        sent = asyncio.run(away_for_a_while())
    assert (sent.status[:5] == OK).all() and (sent.status[20:60] == NOT_CONNECTED).all()
    assert (sent.status[90:] == OK).all()  # a second after it is back


def test_no_server_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.generator.grpc_transport.CONNECT_TIMEOUT_S", 0.3)
    with serving(lambda body, _context: body) as address:
        pass
    assert send(address, plan(2, 0.01, 5.0)).sent.status.tolist() == [NOT_CONNECTED] * 2
