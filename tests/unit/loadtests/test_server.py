"""What a server says of itself and its models, from servers of a few makes over real sockets, and of its process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import psutil
import pytest

from loadtests.measures.observed import ServerSide
from loadtests.pools import Signature
from loadtests.server import CannotLoad, Counters, Server, error_in, signature_of
from tests.support.scripted import Act, Scripted, answer, routed

IMAGE = {"name": "image", "datatype": "FP32", "shape": [-1, 4]}
LOGITS = {"name": "logits", "datatype": "FP32", "shape": [-1, 2]}
METADATA = {"name": "m", "versions": ["1", "1-int8"], "inputs": [IMAGE], "outputs": [LOGITS]}
STATISTICS = {
    "inference_count": 40,
    "execution_count": 10,
    "inference_stats": {
        "success": {"count": 20, "ns": 5},
        "queue": {"count": 20, "ns": 40_000_000},
        "compute_input": {"count": 20, "ns": 1_000_000},
        "compute_infer": {"count": 20, "ns": 17_000_000},
        "compute_output": {"count": 20, "ns": 2_000_000},
    },
}
ROUTES: dict[str, Any] = {
    "GET /v2": {"name": "ours", "version": "1.2", "extensions": ["binary_tensor_data"]},
    "GET /v2/models/m": METADATA,
    "GET /v2/models/m/versions/1": METADATA,
    "GET /v2/models/m/versions/1/stats": {"model_stats": [STATISTICS]},
    "GET /v2/models/m/versions": {"versions": [{"version": "1", "active": True}, "not a card"]},
}
NONE = Counters(None, None, None, None, None, None, None, None)


@pytest.fixture(scope="module")
def ours() -> Iterator[Server]:
    with Scripted(routed(ROUTES)) as scripted, Server(scripted.url) as server:
        yield server


@pytest.fixture(scope="module")
def bare() -> Iterator[Server]:
    """Knows its model and nothing more; its metadata leaves out what it may."""
    routes = {"GET /v2/models/m": {"name": "m", "versions": None, "inputs": [], "outputs": []}}
    with Scripted(routed(routes)) as scripted, Server(scripted.url) as server:
        yield server


class TestWhatItSays:
    def test_of_itself(self, ours: Server) -> None:
        assert ours.calls_itself == "ours 1.2" and ours.takes_binary

    @pytest.mark.parametrize(
        ("about", "name", "binary"),
        [
            ({"name": "mlserver", "version": "1.7.1", "extensions": []}, "mlserver 1.7.1", False),
            ({"name": "bare", "extensions": None}, "bare", True),
            ({}, "nameless", True),
        ],
    )
    def test_of_itself_in_other_words(self, about: object, name: str, binary: bool) -> None:
        with Scripted(routed({"GET /v2": about})) as scripted, Server(scripted.url) as server:
            assert (server.calls_itself, server.takes_binary) == (name, binary)

    def test_nothing_of_itself(self, bare: Server) -> None:
        assert bare.calls_itself == "nameless" and bare.takes_binary

    def test_of_its_versions_and_their_cards(self, ours: Server, bare: Server) -> None:
        assert ours.versions("m") == ("1", "1-int8")
        assert ours.summaries("m") == [{"version": "1", "active": True}]
        assert bare.versions("m") == () and bare.summaries("m") == []

    def test_of_inputs_and_outputs(self, ours: Server, bare: Server) -> None:
        assert ours.signature("m", "1") == Signature({"image": "FP32"}, {"logits": "FP32"})
        with pytest.raises(CannotLoad, match="does not tell the inputs and outputs of m"):
            bare.signature("m", "")

    def test_metadata_without_one_of_the_two_is_no_signature(self) -> None:
        assert signature_of({"inputs": [IMAGE]}) is None and signature_of({"outputs": [LOGITS]}) is None
        assert signature_of({"inputs": None, "outputs": [LOGITS]}) is None

    def test_an_unknown_model_is_told_with_the_status(self, ours: Server) -> None:
        with pytest.raises(CannotLoad, match=r"/v2/models/other answers 404: unknown$"):
            ours.versions("other")

    def test_nobody_there_is_told_without_a_riddle(self) -> None:
        with Scripted(routed({})) as scripted:
            url = scripted.url
        with (
            Server(url) as gone,
            pytest.raises(CannotLoad, match=r"does not answer: .*refused; no server listens there\.$"),
        ):
            gone.versions("m")

    @pytest.mark.parametrize("text", ["no model", '["no model"]', '{"error": {"no": "model"}}'])
    def test_an_error_of_another_form_is_told_as_it_is(self, text: str) -> None:
        assert error_in(httpx.Response(404, text=text)) == text

    def test_a_name_is_quoted(self) -> None:
        with Scripted(routed({"GET /v2/models/a%2Fb": METADATA})) as scripted, Server(scripted.url) as server:
            assert server.versions("a/b") == ("1", "1-int8")

    def test_a_key_goes_along(self) -> None:
        heads = []
        routes = {"GET /v2/models/m": lambda head, _: heads.append(head) or METADATA}
        with Scripted(routed(routes)) as scripted, Server(scripted.url, key="secret") as server:
            server.versions("m")
            assert server.headers == ("Authorization: Bearer secret",)
        assert b"Authorization: Bearer secret" in heads[0]

    def test_who_does_not_answer_is_named(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]  # nobody listens there any more
        with Server(f"http://127.0.0.1:{port}") as server, pytest.raises(CannotLoad, match=f":{port} does not answer"):
            server.versions("m")

    def test_what_is_no_json_is_told_in_a_sentence(self) -> None:
        page = lambda *_: Act(answer(b"<html>"))  # noqa: E731
        with Scripted(page) as scripted, Server(scripted.url) as server:
            with pytest.raises(CannotLoad, match=r"/v2/models/m answers no JSON: <html>"):
                server.versions("m")
            assert server.calls_itself == "nameless"

    def test_whether_anybody_answers_again_with_whatever(self) -> None:
        with Scripted(routed({})) as scripted, Server(scripted.url) as server:
            assert server.comes_back(0)
        with Server(scripted.url) as server:
            assert not server.comes_back(0.3)

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("http://127.0.0.1:99999", "is no address of a server: Port out of range"),
            ("http://[::1", "is no address of a server"),
            ("http://a..b:80", "is no address of a server"),
            ("http://127.0.0.1:1/models", "must end with the host or the port"),
            ("http://me:secret@127.0.0.1:1", "must end with the host or the port"),
        ],
    )
    def test_an_address_that_cannot_be_loaded_is_refused(self, url: str, said: str) -> None:
        with pytest.raises(CannotLoad, match=said):
            Server(url)

    @pytest.mark.parametrize("key", ["schl\u00fcssel", "a\r\nX-Other: b"])
    def test_a_key_that_no_header_can_hold_is_refused(self, key: str) -> None:
        with pytest.raises(CannotLoad, match="printable ASCII"):
            Server("http://127.0.0.1:1", key)

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "127.0.0.1:8000", "http://"])
    def test_an_address_of_another_kind_is_refused(self, url: str) -> None:
        with pytest.raises(CannotLoad, match="must begin with http://"):
            Server(url)


class TestCounters:
    def test_of_a_version(self, ours: Server) -> None:
        now = ours.counters("m", "1")
        assert (now.requests, now.executions, now.rows) == (20, 10, 40)
        assert (now.queue_ns, now.compute_ns) == (40_000_000, 20_000_000)

    def test_of_a_server_that_tells_nothing(self, bare: Server) -> None:
        now = bare.counters("m", "")
        assert (now.requests, now.executions, now.rows, now.queue_ns, now.compute_ns) == (None,) * 5

    @pytest.mark.parametrize("told", [{"model_stats": []}, {"model_stats": ["odd"]}, {}, "not at all"])
    def test_odd_statistics_are_none(self, told: object) -> None:
        with Scripted(routed({"GET /v2/models/m/stats": told})) as scripted, Server(scripted.url) as server:
            assert server.counters("m", "").requests is None

    def test_what_happened_in_between_is_a_mean_of_each_request(self) -> None:
        before = replace(NONE, requests=10, executions=4, rows=16, queue_ns=0, compute_ns=5_000_000, cpu_s=1.0)
        after = replace(
            before, requests=30, executions=14, rows=56, queue_ns=40_000_000, compute_ns=25_000_000, cpu_s=1.5
        )
        told = replace(after, resident_bytes=7).since(before)
        assert told == ServerSide(
            requests=20, executions=10, rows=40, queue_ms=2.0, compute_ms=1.0, cpu_s=0.5, resident_bytes=7
        )

    def test_without_requests_there_is_no_mean(self) -> None:
        same = replace(NONE, requests=10, queue_ns=5, compute_ns=5)
        assert (same.since(same).queue_ms, same.since(same).compute_ms, same.since(same).requests) == (None, None, 0)
        assert NONE.since(NONE) == ServerSide()

    def test_of_a_server_that_was_started_again_nothing_is_known(self) -> None:
        before = Counters(100, 50, 100, 9_000_000, 9_000_000, 20.0, 7.0, 9)
        after = Counters(10, 5, 10, 2_000_000, 2_000_000, 0.5, 8.0, 9)
        assert after.since(before) == ServerSide(joules=1.0, resident_bytes=9)


class TestProcess:
    def test_the_listener_and_its_children_are_counted(self) -> None:
        source = """
import subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
worker = subprocess.Popen([sys.executable, "-c", "held = bytearray(64 << 20); print(1, flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdout.readline()
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.readline()
worker.communicate(b"\\n")
"""
        command = [sys.executable, "-c", source]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            with Server(f"http://127.0.0.1:{int(process.stdout.readline())}") as server:
                now = server.counters("m", "")
            process.communicate("\n")
        assert now.resident_bytes is not None and now.resident_bytes > 64 << 20  # the child's
        assert now.cpu_s is not None and now.cpu_s > 0

    def test_nothing_is_told_of_a_process_that_has_ended(self) -> None:
        source = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
        )
        command = [sys.executable, "-c", source]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            server = Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
            process.communicate("\n")
        with server:
            now = server.counters("m", "")
        assert now.cpu_s is None and now.resident_bytes is None

    def test_a_worker_that_ends_while_it_is_looked_at_is_left_out(
        self, ours: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            gone = psutil.Process(ended.pid)  # there until it is waited for
        monkeypatch.setattr(psutil.Process, "children", lambda _self, recursive: [gone])
        now = ours.counters("m", "1")
        assert now.resident_bytes is not None and now.resident_bytes > 1 << 20
        assert now.cpu_s is not None and now.cpu_s > 0

    def test_what_a_worker_used_stays_used_when_it_has_ended(self, ours: Server) -> None:
        before = ours.counters("m", "1").cpu_s
        subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
        after = ours.counters("m", "1").cpu_s
        assert before is not None and after is not None and after - before >= 0.5

    def test_a_server_elsewhere_has_no_process_here(self) -> None:
        with Server("http://192.0.2.1:9") as server:
            assert server._process is None

    def test_this_process_is_found_by_its_port(self, ours: Server) -> None:
        assert ours._process is not None and ours._process.pid == os.getpid()


def test_a_client_of_its_own_goes_to_the_same_server(ours: Server) -> None:
    with ours.client() as http:
        assert http.get("/v2").status_code == httpx.codes.OK
