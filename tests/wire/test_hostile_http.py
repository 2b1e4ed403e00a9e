"""Requests that mean no good (promises H3, H6, H7, M6): never a 5xx, a short answer, and a good request still works."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import numpy as np
import orjson
import pytest

from tests.support.process import ServerProcess
from tests.wire.digits import INFER, INPUT, OUTPUT, ROWS, is_answer_of, tensor

ANSWER_LIMIT_BYTES = 4096
SIZE = 64
REFUSED_VALUES = 200_000


def with_data(data: bytes, shape: bytes = b"[1,1,8,8]") -> bytes:
    return b'{"inputs":[{"name":"image","shape":' + shape + b',"datatype":"FP32","data":' + data + b"}]}"


def numbers(first: bytes) -> bytes:
    return b"[" + first + b",0" * (SIZE - 1) + b"]"


GOOD = orjson.dumps({"inputs": [tensor(ROWS[:1])]})
FLAT = ROWS[0].ravel().tolist()


def document(**changes: Any) -> bytes:
    return orjson.dumps({"inputs": [tensor(ROWS[:1]) | changes]})


BODIES: dict[str, bytes] = {
    "empty": b"",
    "space": b" ",
    "nul": b"\x00",
    "nan": with_data(numbers(b"NaN")),
    "minus nan": with_data(numbers(b"-nan")),
    "infinity": with_data(numbers(b"Infinity")),
    "minus infinity": with_data(numbers(b"-Infinity")),
    "1e400": with_data(numbers(b"1e400")),
    "1e39": with_data(numbers(b"1e39")),
    "5000 digits": with_data(numbers(b"1" * 5000)),
    "5000 decimals": with_data(numbers(b"0." + b"1" * 5000 + b"e999999999")),
    "hexadecimal": with_data(numbers(b"0x10")),
    "null element": with_data(numbers(b"null")),
    "boolean element": with_data(numbers(b"true")),
    "string element": with_data(numbers(b'"1"')),
    "object element": with_data(numbers(b"{}")),
    "lone surrogate": b'{"id":"\\ud800","inputs":[]}',
    "surrogate as name": b'{"inputs":[{"name":"\\udfff","shape":[1],"datatype":"FP32","data":[1]}]}',
    "bad utf-8": b'{"id":"\xff\xfe","inputs":[]}',
    "overlong utf-8": b'{"id":"\xc0\x80","inputs":[]}',
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "utf-16": GOOD.decode().encode("utf-16"),
    "deep list": b"[" * 100_000,
    "deep closed list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep data": with_data(b"[" * 1000 + b"]" * 1000),
    "deep parameters": b'{"parameters":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b',"inputs":[]}',
    "ragged": with_data(b"[[1,2],[3]]", b"[2,2]"),
    "ragged deep": with_data(b"[[[[1,2,3,4,5,6,7,8],[1]]]]"),
    "mixed": with_data(b"[[1],2]", b"[2,1]"),
    "empty data": with_data(b"[]"),
    "data a string": with_data(b'"' + b"A" * 1000 + b'"'),
    "data an object": with_data(b'{"0":1}'),
    "data null": with_data(b"null"),
    "zero rows with data": with_data(numbers(b"1"), b"[0,1,8,8]"),
    "zero width": with_data(b"[]", b"[1,1,0,8]"),
    "negative": document(shape=[-1, 1, 8, 8]),
    "fraction": document(shape=[1.5, 1, 8, 8]),
    "overflow 32": document(shape=[2**32 + 1, 1, 8, 8]),
    "overflow 64": document(shape=[2**63, 2, 0]),
    "overflow product": document(shape=[2**62, 2**62, 2**62], data=[]),
    "rank 0": document(shape=[], data=[1]),
    "rank 5000": document(shape=[1] * 5000, data=[1]),
    "shape a string": document(shape="1,1,8,8"),
    "shape missing": orjson.dumps({"inputs": [{"name": INPUT, "datatype": "FP32", "data": FLAT}]}),
    "name missing": orjson.dumps({"inputs": [{"shape": [1, 1, 8, 8], "datatype": "FP32", "data": FLAT}]}),
    "name a list": document(name=[INPUT]),
    "name long": document(name="x" * 500_000),
    "name control": document(name="\x00\x1b[2J\r\n" * 1000),
    "datatype other": document(datatype="INT64"),
    "datatype unknown": document(datatype="X" * 100_000),
    "twice": orjson.dumps({"inputs": [tensor(ROWS[:1]), tensor(ROWS[:1])]}),
    "inputs an object": orjson.dumps({"inputs": tensor(ROWS[:1])}),
    "inputs many": orjson.dumps({"inputs": [{}] * 10_000}),
    "outputs unknown": orjson.dumps({"inputs": [tensor(ROWS[:1])], "outputs": [{"name": "y" * 100_000}]}),
    "outputs many": orjson.dumps(
        {"inputs": [tensor(ROWS[:1])], "outputs": [{"name": str(number)} for number in range(20_000)]}
    ),
    "output twice": orjson.dumps({"inputs": [tensor(ROWS[:1])], "outputs": [{"name": OUTPUT}, {"name": OUTPUT}]}),
    "id a number": orjson.dumps({"id": 5, "inputs": [tensor(ROWS[:1])]}),
    "id long": orjson.dumps({"id": "i" * 100_000, "inputs": [tensor(ROWS[:1])]}),
    "reserved": orjson.dumps({"inputs": [tensor(ROWS[:1])], "parameters": {"triton_final_response": True}}),
    "binary without bytes": document(parameters={"binary_data_size": 256}),
    "data and binary": document(parameters={"binary_data_size": 0}),
    "trailing": GOOD + b"{}",
    "a form": b"inputs=1&outputs=2",
    "a page": b"<html></html>",
}


@pytest.fixture(autouse=True)
def _a_good_request_works_afterwards(server: ServerProcess) -> Iterator[None]:
    yield
    answer = server.http.post(INFER, content=GOOD)
    assert answer.status_code == 200
    assert is_answer_of("1", answer.json()["outputs"][0]["data"], 1)
    assert server.process.poll() is None


def check_refused(answer: Any) -> None:
    assert 400 <= answer.status_code < 500
    assert len(answer.content) <= ANSWER_LIMIT_BYTES
    assert list(answer.json()) == ["error"]
    for leak in ("Traceback", "Error:", "/work", "site-packages", "service.", ".py"):
        assert leak not in answer.text


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("path", [INFER, "/v1/models/digits:predict", "/v2/repository/models/digits/swap"])
def test_a_hostile_body_is_refused_in_few_words(server: ServerProcess, path: str, body: bytes) -> None:
    check_refused(server.http.post(path, content=body, headers={"Content-Type": "application/json"}))


OTHERS = (
    "/v2/models/digits/versions/1-int8/infer",
    "/v1/models/digits/versions/1:predict",
    "/v2/repository/index",
    "/v2/repository/models/digits/load",
    "/v2/repository/models/digits/rollback",
    "/v2/models/digits/trace/setting",
    "/v2/logging",
    "/v2/systemsharedmemory/region/none/register",
)


@pytest.mark.parametrize("path", OTHERS)
def test_no_route_fails_for_what_it_is_sent(server: ServerProcess, path: str) -> None:
    for name, body in BODIES.items():
        answer = server.http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (name, answer.text)
        if answer.status_code != 200:  # an empty body is a fine order, and trailing spaces are fine JSON
            check_refused(answer)


@pytest.mark.parametrize("path", [INFER, OTHERS[0]])
def test_no_split_into_json_and_binary_fails(server: ServerProcess, path: str) -> None:
    for name, body in BODIES.items():
        for length in {0, 1, len(body) // 2, max(0, len(body) - 1), len(body)}:
            headers = {"Inference-Header-Content-Length": str(length)}
            answer = server.http.post(path, content=body, headers=headers)
            assert answer.status_code < 500, (name, length)
            check_refused(answer)


@pytest.mark.parametrize("classes", [0, -1, 1.5, "1", 2**63, 2**70, None, [], {}, True, "x" * 100_000])
def test_classes_that_are_no_number_of_them_are_refused(server: ServerProcess, classes: Any) -> None:
    outputs = [{"name": OUTPUT, "parameters": {"classification": classes}}]
    answer = server.http.post(INFER, content=json_of({"inputs": [tensor(ROWS[:1])], "outputs": outputs}))
    if classes not in (2**63, 2**70):  # more than there are gives all of them
        check_refused(answer)
    assert answer.status_code < 500


def json_of(value: Any) -> bytes:
    """JSON, with integers of any size."""
    return json.dumps(value).encode()


CODED = ["gzip", "deflate", "gzip, gzip", "br", "identity", "x" * 5000]


@pytest.mark.parametrize("coding", CODED, ids=range(len(CODED)))
def test_no_coding_fails(server: ServerProcess, coding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    for body in (b"", b"\x1f\x8b", bomb, bomb[:-9], gzip.compress(GOOD) + b"x", zlib.compress(GOOD)[:-1], bytes(100)):
        check_refused(server.http.post(INFER, content=body, headers={"Content-Encoding": coding}))


def test_the_corpus_is_large_enough() -> None:
    assert len(BODIES) >= 60


@pytest.mark.parametrize("length", ["0", "1", "99999999", "-1", "1e3", "9" * 100, str(len(GOOD) - 1)])
def test_a_wrong_length_of_the_json_is_refused(server: ServerProcess, length: str) -> None:
    check_refused(server.http.post(INFER, content=GOOD, headers={"Inference-Header-Content-Length": length}))


@pytest.mark.parametrize("size", [0, 255, 257, 10_000])
def test_blobs_that_do_not_fit_are_refused(server: ServerProcess, size: int) -> None:
    described = {k: v for k, v in tensor(ROWS[:1]).items() if k != "data"}
    head = orjson.dumps({"inputs": [{**described, "parameters": {"binary_data_size": size}}]})
    headers = {"Inference-Header-Content-Length": str(len(head))}
    check_refused(server.http.post(INFER, content=head + ROWS[:1].astype(np.float32).tobytes(), headers=headers))


NAMES = ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "digits%00", "digits%0a", "%ff", "m" * 300, "digits%2f1", "~", "*"]


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_is_not_found(server: ServerProcess, name: str) -> None:
    for tail in ("infer", "versions/1/infer", "versions/..%2f1/infer"):
        assert raw(server, f"POST /v2/models/{name}/{tail}", GOOD)[0] == 404
    for tail in ("", "/config", "/stats", "/ready", "/versions", "/versions/1/card"):
        assert raw(server, f"GET /v2/models/{name}{tail}")[0] == 404
    for order in ("load", "unload", "rollback"):
        assert raw(server, f"POST /v2/repository/models/{name}/{order}", b"{}")[0] == 404
    assert raw(server, f"GET /v2/models/digits/versions/{name}/card")[0] == 404
    swap = json.dumps({"version": name}).encode()
    assert raw(server, "POST /v2/repository/models/digits/swap", swap)[0] in (400, 404)


def raw(server: ServerProcess, line: str, body: bytes = b"", *headers: str) -> tuple[int, bytes]:
    """One request exactly as written: no client normalises its path. Returns status and whole answer."""
    head = [
        f"{line} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer


def test_a_body_over_the_limit_is_refused_announced_or_not(server: ServerProcess) -> None:
    check_refused(server.http.post(INFER, content=b" " * 1_000_001))

    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    answer = server.http.post(INFER, content=pieces())
    assert answer.status_code == 413
    assert server.http.post(INFER, content=b" " * 1_000_000).status_code == 400


def test_a_request_that_lies_about_its_body_hurts_only_itself(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        time.sleep(0.1)


def test_a_client_that_leaves_is_not_an_error_in_the_log(server: ServerProcess) -> None:
    before = len(server.log())
    for size in (1, 20 * len(ROWS)):
        body = orjson.dumps({"inputs": [tensor(np.resize(ROWS, (size, 1, 8, 8)))]})
        head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
                connection.sendall(3 * (head.encode() + body))
                connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # closes with a reset
    time.sleep(0.5)
    assert '"error"' not in server.log()[before:]


FORGED = '{"event":"forged"}'
LINE_ENDS = ("%0A", "%0D%0A", "%0B", "%0C", "%1C", "%C2%85", "%E2%80%A8", "%E2%80%A9", "%00", "%1b[2K")


def test_no_request_forges_a_log_line(server: ServerProcess) -> None:
    """In none of the places where a client's text may reach the log, by none of the ends that a line may have."""
    for end in LINE_ENDS:
        text = f"x{end}{FORGED}{end}"
        plain = unquote(text)
        raw(server, f"POST /v2/models/{text}/infer", GOOD, "X-Request-Id: a b {")
        raw(server, f"GET /{text}")
        raw(server, f"GET /v2?{text}")
        raw(server, f"POST /v2/models/{text}/versions/{text}/infer", GOOD)
        raw(server, "GET /v2", b"", f"X-Request-Id: {FORGED}\xa0", f"Traceparent: {FORGED}", f"User-Agent: {FORGED}")
        raw(server, f"POST /v2/repository/models/{text}/load", b"{}")
        for order in ({"version": plain}, {plain: plain}):
            raw(server, "POST /v2/repository/models/digits/swap", json.dumps(order).encode())
        for changed in ({"id": plain}, {"inputs": [tensor(ROWS[:1], name=plain)]}, {"parameters": {"x": plain}}):
            raw(server, f"POST {INFER}", json.dumps({"inputs": [tensor(ROWS[:1])]} | changed).encode())
    time.sleep(0.1)
    lines = server.log_file.read_bytes().decode().split("\n")[:-1]
    assert len(lines) > 100
    for line in lines:
        assert line.isprintable(), line
        assert json.loads(line)["event"] != "forged"


def test_a_line_that_is_not_written_so_could_be_forged() -> None:
    """The negative control: what one of those texts does to a log of plain lines."""
    lines = f"GET /{unquote(LINE_ENDS[0])}{FORGED}".split("\n")
    assert json.loads(lines[1])["event"] == "forged"


def test_administration_needs_this_machine(server: ServerProcess) -> None:
    path = "POST /v2/repository/models/digits/rollback"
    assert raw(server, path, b"{}", "X-Forwarded-For: 127.0.0.1")[0] == 403
    assert raw(server, path, b"{}", "Forwarded: for=127.0.0.1")[0] == 403
    answer = server.http.post(path.split()[1], json={}, headers={"Host": "example.com"})
    assert answer.status_code == 403


def test_the_sum_of_answers_is_what_was_sent(server: ServerProcess) -> None:
    def answers() -> dict[str, int]:
        lines = server.http.get("/metrics").text.splitlines()
        counted = [line for line in lines if line.startswith("retort_http_responses{")]
        return {line.split('"')[1]: int(line.split()[-1]) for line in counted}

    before = answers()
    for _ in range(5):
        server.http.post(INFER, content=GOOD)
        server.http.post(INFER, content=b"{")
        server.http.post("/v2/models/none/infer", content=GOOD)
    after = answers()
    change = {code: after[code] - before.get(code, 0) for code in after}
    assert (change["200"], change["400"], change["404"]) == (5 + 1, 5, 5)


def test_nothing_is_kept_of_a_large_body_that_was_refused(server: ServerProcess) -> None:
    """It is read in a thread, whose error must not hold it until the collector comes, which is seldom."""
    body = with_data(b"[" + b"1," * REFUSED_VALUES + b"1]")

    def refuse(times: int) -> int:
        for _ in range(times):
            assert server.http.post(INFER, content=body).status_code == 400
        return server.resident_bytes()

    before = refuse(10)
    assert refuse(200) - before < 60 * len(body)
