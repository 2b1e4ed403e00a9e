"""A small request that comes whole is answered past the parser; it means the same as when it comes in pieces.

Each request is sent twice: whole, and with its head cut in two, so that the parser reads it as it reads any other.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import orjson
import pytest

from tests.support.process import ServerProcess
from tests.wire.digits import INFER, INPUT, OUTPUT, ROWS, tensor
from tests.wire.test_hostile_http import BODIES, GOOD

BLOB = ROWS[:2].astype(np.float32).tobytes()
DESCRIBED = {"name": INPUT, "shape": [2, 1, 8, 8], "datatype": "FP32", "parameters": {"binary_data_size": len(BLOB)}}
HEADER = orjson.dumps({"id": "i", "inputs": [DESCRIBED], "parameters": {"binary_data_output": True}})
LENGTH = f"Inference-Header-Content-Length: {len(HEADER)}"


class Case(NamedTuple):
    body: bytes
    headers: tuple[str, ...] = ()
    path: str = INFER


CASES = {f"body {name}": Case(body) for name, body in BODIES.items() if len(body) < 60_000} | {
    "json": Case(GOOD),
    "json with a word about the connection": Case(GOOD, ("Connection: keep-alive",)),
    "binary": Case(HEADER + BLOB, (LENGTH,)),
    "binary, a byte short": Case(HEADER + BLOB[1:], (LENGTH,)),
    "binary, a byte long": Case(HEADER + BLOB + b"x", (LENGTH,)),
    "raw": Case(ROWS[0].astype(np.float32).tobytes(), ("Inference-Header-Content-Length: 0",)),
    "a length of the json that is none": Case(GOOD, ("Inference-Header-Content-Length: x",)),
    "two rows": Case(orjson.dumps({"inputs": [tensor(ROWS[:2])]})),
    "classes": Case(
        orjson.dumps({"inputs": [tensor(ROWS[:1])], "outputs": [{"name": OUTPUT, "parameters": {"classification": 3}}]})
    ),
    "an answer that may be compressed": Case(GOOD, ("Accept-Encoding: gzip",)),
    "a body that is not compressed": Case(GOOD, ("Content-Encoding: gzip",)),
    "a deadline": Case(GOOD, ("Retort-Timeout-Ms: 10000",)),
    "a deadline that is none": Case(GOOD, ("Retort-Timeout-Ms: 0",)),
    "no such model": Case(GOOD, path="/v2/models/none/infer"),
    "no such version": Case(GOOD, path="/v2/models/digits/versions/77/infer"),
    "a version": Case(GOOD, path="/v2/models/digits/versions/1-int8/infer"),
    "a name that is quoted": Case(GOOD, path="/v2/models/%64igits/infer"),
    "a query": Case(GOOD, path=INFER + "?a=b"),
    "shared memory": Case(
        orjson.dumps(
            {
                "inputs": [
                    {
                        "name": INPUT,
                        "shape": [1, 1, 8, 8],
                        "datatype": "FP32",
                        "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 256},
                    }
                ]
            }
        )
    ),
}


class Client:
    """One connection, which sends bytes as they are."""

    def __init__(self, server: ServerProcess) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def ask(self, case: Case, cut: int = 0) -> tuple[str, dict[str, str], bytes]:
        """Status line, headers and body of the answer; the request's first `cut` bytes go ahead of the others."""
        request = written(case)
        if cut:
            self._socket.sendall(request[:cut])
            time.sleep(0.002)  # two segments that came together are one: then the test shows nothing, and passes
        self._socket.sendall(request[cut:])
        return self.answer()

    def answer(self) -> tuple[str, dict[str, str], bytes]:
        status = self._answers.readline().decode().strip()
        headers = {}
        while line := self._answers.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return status, headers, self._answers.read(int(headers["content-length"]))


def written(case: Case) -> bytes:
    head = [f"POST {case.path} HTTP/1.1", "Host: x", f"Content-Length: {len(case.body)}", "X-Request-Id: the-same"]
    return "\r\n".join([*head, *case.headers, "", ""]).encode() + case.body


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_it_is_answered_alike(client: Client, case: Case) -> None:
    status, headers, body = client.ask(case)
    for cut in (25, 0, len(written(case)) - len(case.body)):  # in the head, nowhere, and between head and body
        other_status, other_headers, other_body = client.ask(case, cut)
        assert (other_status, other_body) == (status, body)
        assert other_headers | {"date": ""} == headers | {"date": ""}
    assert headers["x-request-id"] == "the-same"


def test_there_are_good_requests_among_them_and_bad_ones(client: Client) -> None:
    seen = {client.ask(case)[0].split()[1] for case in CASES.values()}
    assert seen >= {"200", "400", "404"}


def test_requests_behind_one_another_are_answered_in_their_order(client: Client) -> None:
    client._socket.sendall(b"".join(written(CASES[name]) for name in ("json", "binary", "no such model", "raw")))
    assert [client.answer()[0].split()[1] for _ in range(4)] == ["200", "200", "404", "200"]


def test_the_last_request_of_a_connection_is_told_so(server: ServerProcess) -> None:
    client = Client(server)
    status, headers, _ = client.ask(Case(GOOD, ("Connection: close",)))
    assert (status, headers["connection"]) == ("HTTP/1.1 200 OK", "close")
    assert client._answers.read() == b""
    client.close()
