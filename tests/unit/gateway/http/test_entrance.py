from __future__ import annotations

import asyncio
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from service.core.errors import Abandoned
from service.gateway.budget import ByteBudget, Share
from service.gateway.guard import hold
from service.gateway.http import build
from service.gateway.http.entrance import Entrance, Problems
from service.gateway.turns import Turns
from service.observe import logs
from service.observe.tracing import TRACE
from tests.fakes import ManualClock
from tests.support.logs import capture_logs
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 1, 2, 3]}
INFER = "/v2/models/m/infer"
BOTH = pytest.mark.parametrize(
    ("path", "body"),
    [(INFER, {"inputs": [X]}), ("/v1/models/m:predict", {"instances": [X["data"]]})],
    ids=["/v2", "/v1"],
)


@pytest.mark.parametrize("path", ["/v2", "/nowhere", "/v2/models/m", "/v2/models/none/infer", "/docs"])
def test_every_answer_carries_the_client_s_id(client: TestClient, path: str) -> None:
    assert client.get(path, headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert client.post(path, headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"


def test_an_answer_without_one_gets_an_id_of_its_own(client: TestClient) -> None:
    assert client.get("/v2").headers["x-request-id"] != client.get("/v2").headers["x-request-id"]
    assert client.get("/v2", headers={"X-Request-Id": "no spaces"}).headers["x-request-id"] != "no spaces"


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nowhere", 404, "nothing is found at '/nowhere'; GET /docs lists every route"),
        ("GET", "/v2/", 404, "nothing is found at '/v2/'; GET /docs lists every route"),
        ("GET", "/" + "x" * 5000, 404, "nothing is found at '/xxx"),
        ("DELETE", "/v2", 405, "the method 'DELETE' is not known at '/v2'"),
        ("GET", INFER, 405, "the method 'GET' is not known at"),
        ("HEAD", INFER, 405, ""),
        ("HEAD", "/nowhere", 404, ""),
        ("POST", "/v2/health/live", 405, "the method 'POST'"),
        ("GET", "/v2/health/live%0A", 404, "nothing is found at '/v2/health/live\\n'"),
        ("POST", INFER + "%0A", 404, "nothing is found at '/v2/models/m/infer\\n'"),
        ("GET", "/v2%0D%0A", 404, "nothing is found at '/v2\\r\\n'"),
        ("GET", "/v2%3Fa", 404, "nothing is found at '/v2?a'"),
    ],
)
def test_a_path_or_method_that_is_none_is_told_in_the_same_form(
    client: TestClient, method: str, path: str, status: int, words: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    if method != "HEAD":
        assert words in answer.json()["error"]
        assert len(answer.content) < 500
    if status == 405:
        assert answer.headers["allow"]


def test_an_internal_error_says_only_its_id_and_is_logged_whole(client: TestClient, servable: FakeServable) -> None:
    servable.error = ValueError("/secret/path")
    with capture_logs() as lines:
        answer = client.post(INFER, json={"inputs": [X]}, headers={"X-Request-Id": "id-5"})
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error, request id id-5"}
    assert next(line for line in lines if line["event"] == "internal error")["exc_info"] is servable.error


def test_an_internal_error_behind_fastapi_is_the_same(client: TestClient, catalog: FakeCatalog) -> None:
    catalog.error = ValueError("/secret/path")
    with capture_logs() as lines:
        answer = client.post("/v2/repository/models/m/load", json={}, headers={"X-Request-Id": "id-5"})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error, request id id-5"})
    assert [line["event"] for line in lines].count("internal error") == 1


def test_an_error_that_was_meant_is_not_logged_with_a_traceback(client: TestClient) -> None:
    with capture_logs() as lines:
        client.post(INFER, json={"inputs": []})
    assert [line["event"] for line in lines] == ["request"]


@pytest.fixture
def log() -> Iterator[Callable[[], str]]:
    """Logging as a server has it, for the length of one test; gives what was written."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    yield stream.getvalue
    root.handlers = handlers
    root.setLevel(level)


def test_a_request_is_one_line_in_the_log_and_cannot_forge_another(client: TestClient, log: Callable[[], str]) -> None:
    client.post("/v2/models/m%0A%7B%22event%22%3A%22forged%22%7D/infer", content=b"x" * 10)
    client.get("/" + "y" * 5000)
    lines = [json.loads(line) for line in log().splitlines() if '"request"' in line]
    assert [(line["method"], line["status"], line["peer"]) for line in lines] == [
        ("POST", 404, "127.0.0.1"),
        ("GET", 404, "127.0.0.1"),
    ]
    assert lines[0]["path"].startswith("/v2/models/m\n{")
    assert len(lines[1]["path"]) == 300
    assert lines[0]["request_id"] != lines[1]["request_id"]


Messages = list[dict[str, Any]]


async def drive(
    entrance: Entrance, path: str = INFER, client_left: Callable[[], bool] = lambda: False, **scope: Any
) -> Messages:
    """One request through the bare ASGI application."""
    sent: Messages = []

    async def receive() -> dict[str, Any]:
        if client_left():
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await entrance({"type": "http", "method": "POST", "path": path, "headers": [], **scope}, receive, send)
    return sent


def entrance_of(handler: Any, app: Any = None) -> tuple[Entrance, Counter[int]]:
    responses: Counter[int] = Counter()
    return Entrance(app or handler, handler, Problems(logs.logger("test")), responses, None), responses


async def test_what_a_request_holds_of_the_budget_is_given_back_when_its_answer_is_taken() -> None:
    """A large answer is not taken when it is handed over: the server holds it until its client has read it."""
    budget, held = ByteBudget(1 << 30), []
    handed_over, taken = asyncio.Event(), asyncio.Event()

    async def infer(request: Request) -> Response:
        hold(request.scope, 1 << 20)
        return Response(bytes(1 << 20))

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            held.append((len(message["body"]), message.get("more_body", False), budget.used_bytes))
            if not message.get("more_body"):
                handed_over.set()
                await taken.wait()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    entrance = Entrance(infer, infer, Problems(logs.logger("test")), Counter(), None, budget=budget)  # type: ignore[arg-type]
    scope = {"type": "http", "method": "POST", "path": INFER, "headers": []}
    answering = asyncio.create_task(entrance(scope, receive, send))
    await handed_over.wait()
    assert held == [*[(256 << 10, True, 1 << 20)] * 4, (0, False, 1 << 20)]
    taken.set()
    await answering
    assert budget.used_bytes == 0


@BOTH
async def test_a_request_is_held_by_its_bytes_its_numbers_and_its_answer(
    catalog: FakeCatalog, path: str, body: dict[str, Any]
) -> None:
    budget, text = ByteBudget(1 << 20), json.dumps(body).encode()
    used: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": text, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            used.append(budget.used_bytes - len(message["body"]))

    app = build(cast("Any", catalog), cast("Any", FakeHealth()), max_body_bytes=10_000, budget=budget)
    headers = [(b"inference-header-content-length", b"%d" % len(text))]
    await app({"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}, receive, send)
    assert used == [len(text) + 4 * 4]
    assert budget.used_bytes == 0


@BOTH
def test_a_deadline_counts_from_when_the_request_came_not_from_when_its_turn_was(
    catalog: FakeCatalog, servable: FakeServable, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    clock = ManualClock()

    def late(_: Turns) -> asyncio.Future[None]:
        turn = asyncio.get_running_loop().create_future()
        turn.get_loop().call_soon(lambda: (clock.advance(10.0), turn.set_result(None)))
        return turn

    monkeypatch.setattr(Turns, "take", late)
    app = build(cast("Any", catalog), cast("Any", FakeHealth()), max_body_bytes=10_000, clock=clock)
    client = TestClient(cast("Any", app))
    assert client.post(path, json=body, headers={"Retort-Timeout-Ms": "30000"}).status_code == 200
    assert clock.now_s() > 1000.0
    assert servable.seen[0][1].at_s == 1030.0


def test_without_room_an_answer_is_503_and_the_request_a_failure(catalog: FakeCatalog, servable: FakeServable) -> None:
    budget = ByteBudget(1000)
    Share(budget).take(850)
    app = build(cast("Any", catalog), cast("Any", FakeHealth()), max_body_bytes=10_000, budget=budget)
    with TestClient(cast("Any", app)) as client:
        answer = client.post(INFER, json={"inputs": [X]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "in flight" in answer.json()["error"]


async def test_inference_goes_straight_to_its_handler_with_its_names() -> None:
    seen = []

    async def infer(request: Request) -> Response:
        seen.append(request.path_params)
        return Response(b"")

    entrance, responses = entrance_of(infer)
    await drive(entrance, "/v2/models/a b/infer")
    await drive(entrance, "/v2/models/m/versions/1-int8/infer")
    assert seen == [{"model": "a b", "version": None}, {"model": "m", "version": "1-int8"}]
    assert responses == {200: 2}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", INFER), ("POST", "/v2/models/m/infer/"), ("POST", "/v2/models/a/b/infer"), ("POST", "/x" + INFER)],
)
async def test_anything_else_goes_the_long_way(method: str, path: str) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await Response(b"long way")(_scope, _receive, send)

    async def infer(_request: Request) -> Response:
        raise AssertionError("not here")

    sent = await drive(entrance_of(infer, app)[0], path, method=method)
    assert sent[1]["body"] == b"long way"


async def test_the_short_way_and_the_long_way_answer_alike(client: TestClient) -> None:
    app: Any = client.app
    for body in ({"inputs": [X]}, {"inputs": []}, {"inputs": [{**X, "name": "z"}]}):
        short = client.post(INFER, json=body)
        long = TestClient(app._app).post(INFER, json=body)
        assert (short.status_code, short.json()) == (long.status_code, long.json())


async def test_a_pipelined_request_does_not_go_on_with_the_trace_of_the_one_before() -> None:
    seen: list[object] = []

    async def infer(_request: Request) -> Response:
        seen.append(TRACE.get())
        return Response(b"")

    TRACE.set(cast("Any", "the trace of the request before, whose task began this one's"))
    try:
        await drive(entrance_of(infer)[0])
    finally:
        TRACE.set(None)
    assert seen == [None]


async def test_a_client_that_left_is_counted_apart() -> None:
    async def infer(_request: Request) -> Response:
        raise Abandoned("gone")

    entrance, responses = entrance_of(infer)
    await drive(entrance)
    assert responses == {499: 1}


@BOTH
async def test_work_for_a_client_that_left_ends(
    client: TestClient, servable: FakeServable, path: str, body: dict[str, Any]
) -> None:
    servable.wait_s = 30
    entrance: Any = client.app
    request = {"type": "http.request", "body": json.dumps(body).encode()}
    messages: list[dict[str, Any]] = [request, {"type": "http.disconnect"}]
    sent: Messages = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b""}
    await entrance(scope, receive, send)
    assert servable.cancelled
    assert servable.leases == 0
    assert servable.statistics.failures["CANCELED"].count == 1
    assert sent[0]["status"] == 499


async def test_an_error_after_the_head_was_sent_sends_no_second_head() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("too late")

    entrance, responses = entrance_of(app, app)
    sent = await drive(entrance, "/elsewhere")
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert responses == {200: 1}


async def test_an_answer_to_a_client_that_has_just_left_is_sent_to_its_end() -> None:
    tried: list[str] = []

    async def infer(_request: Request) -> Response:
        return Response(b"answer")

    async def send(message: Any) -> None:
        tried.append(message["type"])
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    entrance, responses = entrance_of(infer)
    await entrance({"type": "http", "method": "POST", "path": INFER, "headers": []}, lambda: None, send)  # type: ignore[arg-type,return-value]
    assert tried == ["http.response.start", "http.response.body"]
    assert responses == {200: 1}


@pytest.mark.parametrize("path", [INFER, "/elsewhere"])
async def test_a_request_that_the_stopping_server_gives_up_is_told_to_come_again(path: str) -> None:
    async def endless(*_: Any) -> Response:
        await asyncio.sleep(60)
        raise AssertionError("too late")

    entrance, responses = entrance_of(endless)
    request = asyncio.ensure_future(drive(entrance, path))
    await asyncio.sleep(0)
    request.cancel()
    head, body = await request
    assert (head["status"], dict(head["headers"])[b"retry-after"]) == (503, b"1")
    assert b"shutting down" in body["body"]
    assert responses == {503: 1}


async def test_giving_up_an_answer_that_has_begun_adds_nothing_to_it() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise asyncio.CancelledError

    entrance, responses = entrance_of(app, app)
    assert [message["type"] for message in await drive(entrance, "/elsewhere")] == ["http.response.start"]
    assert responses == {200: 1}


async def test_what_is_not_http_is_passed_on() -> None:
    seen = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    entrance, responses = entrance_of(app, app)
    await drive(entrance, type="lifespan")
    assert seen == ["lifespan"]
    assert not responses
