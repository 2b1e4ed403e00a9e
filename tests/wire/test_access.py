"""Promise X1 on a real server: every key on every route of both transports; and that no key leaves the server again.

The routes are those that the server describes and its stubs know, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http
from tritonclient.grpc import service_pb2

from tests.support.collector import Collector, over_http
from tests.support.keys import KEYS, bearer, line_of, write_keys
from tests.support.process import ServerProcess
from tests.wire.digits import INFER, ROWS, image, tensor
from tests.wire.scopes import ADMIN_CALLS, BAD, MAY, OPEN_CALLS, SCOPES

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"
INFERENCE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
FEW = "quota-1Vn6yXe4"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with over_http() as collecting:
        yield collecting


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("guarded")
    keys = write_keys(folder / "keys", line_of("few", FEW, "infer", "rate=0.01 burst=3"))
    env = {"RETORT_ACCESS_LOG": "true", "RETORT_LOG_LEVEL": "debug", "RETORT_TRACE_FILE": str(folder / "traces.json")}
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    arguments = ["--repository", str(REPOSITORY), "--keys", str(keys)]
    with ServerProcess(arguments, folder, env={**env, **traced}) as running:
        yield running


def routes(server: ServerProcess) -> set[tuple[str, str]]:
    """Those that the server describes, and the two that describe them."""
    paths = server.http.get("/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    return described | {("GET", "/docs"), ("GET", "/openapi.json")}


def ask(server: ServerProcess, method: str, path: str, key: str | None) -> httpx.Response:
    """A request that changes nothing, whoever makes it."""
    for name in ("model", "version", "region"):
        path = path.replace(f"{{{name}}}", f"no-such-{name}")
    headers = {} if key is None else bearer(key)
    return server.http.request(method, path, json={} if method == "POST" else None, headers=headers)


def test_every_route_is_in_one_scope(guarded: ServerProcess) -> None:
    known = [route for scope in SCOPES.values() for route in scope]
    assert len(known) == len(set(known))
    assert routes(guarded) == set(known)


@pytest.mark.parametrize("key", MAY)
@pytest.mark.parametrize("scope", SCOPES)
def test_every_key_on_every_route(guarded: ServerProcess, key: str | None, scope: str) -> None:
    refused = 401 if key in (None, BAD) else 403
    for method, path in sorted(SCOPES[scope]):
        status = ask(guarded, method, path, key).status_code
        if scope in MAY[key]:
            assert status not in (401, 403), (method, path)
        else:
            assert status == refused, (method, path)


def test_what_is_not_there_is_not_there_for_everybody(guarded: ServerProcess) -> None:
    assert guarded.http.get("/nowhere").status_code == 404
    assert guarded.http.put("/v2").status_code == 405


def code_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)  # type: ignore[attr-defined]
    return "OK"


def call(channel: grpc.Channel, path: str, key: str | None, *, streams: bool = False) -> str:
    """The code that an empty message ends with."""
    metadata = [] if key is None else list(bearer(key).items())
    if streams:
        return code_of(lambda: list(channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=20)))
    return code_of(lambda: channel.unary_unary(path)(b"", metadata=metadata, timeout=20))


@pytest.mark.parametrize("key", MAY)
def test_every_key_on_every_method(guarded: ServerProcess, key: str | None) -> None:
    refused = "UNAUTHENTICATED" if key in (None, BAD) else "PERMISSION_DENIED"
    with grpc.insecure_channel(guarded.grpc) as channel:
        for method in INFERENCE.methods:
            scope = "open" if method.name in OPEN_CALLS else "admin" if method.name in ADMIN_CALLS else "infer"
            streams = method.name == "ModelStreamInfer"
            code = call(channel, f"/{INFERENCE.full_name}/{method.name}", key, streams=streams)
            if scope in MAY[key]:
                assert code not in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"), method.name
            else:
                assert code == refused, method.name


def test_probes_over_grpc_need_no_key_and_questions_about_models_do(guarded: ServerProcess) -> None:
    from grpc_health.v1 import health_pb2  # noqa: PLC0415

    check = "/grpc.health.v1.Health/Check"
    with grpc.insecure_channel(guarded.grpc) as channel:

        def asked(service: str, key: str | None) -> str:
            message = health_pb2.HealthCheckRequest(service=service).SerializeToString()
            metadata = [] if key is None else list(bearer(key).items())
            return code_of(lambda: channel.unary_unary(check)(message, metadata=metadata, timeout=20))

        assert asked("", None) == asked(INFERENCE.full_name, None) == "OK"
        assert asked("digits", None) == asked("no-such-model", BAD) == "UNAUTHENTICATED"
        assert asked("digits", KEYS["scraper"]) == "PERMISSION_DENIED"
        assert asked("digits", KEYS["app"]) == "OK"


def test_without_keys_nobody_is_asked_for_one(server: ServerProcess) -> None:
    """The negative control: the same questions are let in where no file of keys is given."""
    for scope in SCOPES.values():
        for method, path in scope:
            assert ask(server, method, path, None).status_code != 401, path
    with grpc.insecure_channel(server.grpc) as channel:
        for method in ("ModelInfer", "LogSettings"):
            assert call(channel, f"/{INFERENCE.full_name}/{method}", BAD) != "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "headers",
    [
        bearer(KEYS["app"]),
        {"x-api-key": KEYS["app"]},
        {"authorization": "Basic " + base64.b64encode(f"me:{KEYS['app']}".encode()).decode()},
    ],
)
def test_triton_s_clients_bring_a_key_in_every_form(guarded: ServerProcess, headers: dict[str, str]) -> None:
    with triton_http.InferenceServerClient(guarded.url.removeprefix("http://")) as client:
        client.infer("digits", [image(triton_http, ROWS[:2])], headers=dict(headers))  # it adds its own
        with pytest.raises(Exception, match="a key is needed"):
            client.infer("digits", [image(triton_http, ROWS[:2])])
    with triton_grpc.InferenceServerClient(guarded.grpc) as calls:
        calls.infer("digits", [image(triton_grpc, ROWS[:2])], headers=headers)
        with pytest.raises(Exception, match="a key is needed"):
            calls.infer("digits", [image(triton_grpc, ROWS[:2])])


def test_a_quota_holds_over_both_transports_and_streams_and_for_its_holder_alone(guarded: ServerProcess) -> None:
    body = {"inputs": [tensor(ROWS[:1])]}
    statuses = [guarded.http.post(INFER, json=body, headers=bearer(FEW)).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = guarded.http.post(INFER, json=body, headers=bearer(FEW))
    assert int(refused.headers["retry-after"]) >= 1
    with grpc.insecure_channel(guarded.grpc) as channel:
        path, metadata = f"/{INFERENCE.full_name}/ServerMetadata", list(bearer(FEW).items())
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"", metadata=metadata, timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(dict(caught.value.trailing_metadata())["retry-after"]) >= 1
        stream = channel.stream_stream(f"/{INFERENCE.full_name}/ModelStreamInfer")
        [answer] = stream(iter([b""]), metadata=metadata, timeout=20)
        told = service_pb2.ModelStreamInferResponse.FromString(answer)
        assert "'few' may make 0.01 requests a second" in told.error_message
    assert guarded.http.post(INFER, json=body, headers=bearer(KEYS["app"])).status_code == 200


def test_the_commands_send_a_key(guarded: ServerProcess, tmp_path: Path) -> None:
    def retort(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service", *words, "--url", guarded.url]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "a key is needed" in retort("models").stderr
    assert retort("models", "--key", KEYS["app"]).returncode == 0
    assert "no scope 'admin'" in retort("rollback", "digits", "--key", KEYS["app"]).stderr
    assert retort("swap", "digits", "1", "--key", KEYS["ops"]).returncode == 0
    conforms = retort("conformance", "--model", "digits", "--grpc-url", guarded.grpc, "--key", KEYS["ops"])
    assert conforms.returncode == 0, conforms.stdout


def test_no_key_is_in_what_the_server_writes_or_answers(guarded: ServerProcess, collector: Collector) -> None:
    """Asked in every way; what is searched is the log with its access lines, traces, metrics and each error."""
    secrets = [*KEYS.values(), FEW, BAD]
    coded = [base64.b64encode(f"me:{key}".encode()).decode() for key in secrets]
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in secrets]
    answers, body = [], {"inputs": [tensor(ROWS[:1])]}
    for key, basic in zip(secrets, coded, strict=True):
        for headers in (bearer(key), {"x-api-key": key}, {"authorization": f"Basic {basic}"}):
            for path in (
                INFER,
                "/v2/models/no-such-model/infer",
                "/v2/repository/models/no/load",
                f"{INFER}?key={key}",
            ):
                answers.append(guarded.http.post(path, json=body, headers=headers).text)
        with grpc.insecure_channel(guarded.grpc) as channel:
            call(channel, f"/{INFERENCE.full_name}/ModelInfer", key)
    answers.append(guarded.http.get("/metrics", headers=bearer(KEYS["scraper"])).text)
    assert 'retort_key_requests{key="app",outcome="accepted"}' in answers[-1]
    guarded.http.post(INFER, json=body, headers={**bearer(KEYS["app"]), "x-request-id": "planted"})
    spans = collector.wait_for(lambda seen: "planted" in repr(seen))
    assert "planted" in guarded.log(), "a leak would be found"
    written = guarded.log() + repr(spans) + _trace_file(guarded)
    assert '"key": "app"' in written
    assert len(written) > 10_000
    for secret in (*secrets, *coded, *digests):
        assert secret not in written, "in what the server wrote"
        assert not any(secret in answer for answer in answers), "in an answer"


def _trace_file(server: ServerProcess) -> str:
    """Of a request that is traced in Triton's own form."""
    trace = {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_mode": "triton", "log_frequency": "1"}
    assert server.http.post("/v2/trace/setting", json=trace, headers=bearer(KEYS["ops"])).status_code == 200
    server.http.post(INFER, json={"inputs": [tensor(ROWS[:1])]}, headers=bearer(KEYS["app"]))
    return eventually((server.log_file.parent / "traces.json.0").read_text, "digits")


def eventually(read: Callable[[], str], word: str) -> str:
    """What `read` returns once `word` is in it."""
    end_s, text = time.monotonic() + 20, ""
    while word not in text:
        assert time.monotonic() < end_s, word
        time.sleep(0.02)
        with contextlib.suppress(FileNotFoundError):
            text = read()
    return text


def test_keys_are_changed_while_the_server_serves(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys")
    with ServerProcess(["--repository", str(REPOSITORY), "--keys", str(keys)], tmp_path) as server:

        def status(key: str) -> int:
            return server.http.get("/v2", headers=bearer(key)).status_code

        assert (status(KEYS["app"]), status("new-key")) == (200, 401)
        keys.write_text(line_of("app", "new-key", "infer"))
        server.process.send_signal(signal.SIGHUP)
        eventually(server.log, "keys read again")
        assert (status(KEYS["app"]), status("new-key")) == (401, 200)
        keys.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        eventually(server.log, "keys not read again, the old ones hold")
        assert status("new-key") == 200


def test_a_file_that_cannot_be_used_ends_the_start_in_a_sentence(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("web infer x")
    command = [sys.executable, "-m", "service", "serve", "--keys", str(keys), "--repository", str(REPOSITORY)]
    done = subprocess.run(
        [*command, "--http-port", "0", "--grpc-port", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("retort: ")]
    assert line.startswith(f"retort: the file of keys {keys} is wrong: line 1: the third word must be sha256:")
