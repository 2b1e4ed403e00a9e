"""The bench's clients over gRPC, as a process: they count the answers of the echo, and end where one is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.bench.grpc_load import METHOD, SERVICE, message
from tests.unit.bench.echoes import port_of


@pytest.fixture
def echo() -> Iterator[str]:
    """The port of an echo."""
    with port_of("grpc_echo") as port:
        yield port


@pytest.fixture
def refusing() -> Iterator[str]:
    """The port of a server that answers the first call and no other."""
    calls = iter([b""])

    def answer(_message: bytes, context: grpc.ServicerContext) -> bytes:
        for first in calls:
            return first
        context.abort(grpc.StatusCode.UNAVAILABLE, "no more")

    server = grpc.server(ThreadPoolExecutor(1))
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield str(port)
    server.stop(None).wait()


def load(port: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench.grpc_load", port, "3", "0.2"]
    return subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=False)


def test_every_answer_is_counted(echo: str) -> None:
    ready, answers = load(echo).stdout.split()
    assert ready == "ready"
    assert int(answers) >= 3


def test_an_answer_that_is_none_ends_it(refusing: str) -> None:
    ended = load(refusing)
    assert (ended.returncode, "no more" in ended.stderr) == (1, True)


def test_what_it_sends_is_a_request_of_one_row() -> None:
    asked = service_pb2.ModelInferRequest.FromString(message())
    assert list(asked.inputs[0].shape) == [1, 64]
    assert len(asked.raw_input_contents[0]) == 64 * 4
