"""TLS on a real server: real clients over both transports, a certificate that is renewed, and silent connections."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http

from service.gateway.tls import DAY_S, HANDSHAKE_LIMIT_S
from tests.support.certificates import Pair, make_pair
from tests.support.keys import KEYS, bearer, write_keys
from tests.support.process import ServerProcess
from tests.support.waiting import until
from tests.wire.digits import OUTPUT, ROWS, image, is_answer_of

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"
MODELS = ["--repository", str(REPOSITORY)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("secure")
    keys = ["--keys", str(write_keys(folder / "keys"))]
    with ServerProcess([*MODELS, *keys, *pair.options], folder, ca=pair.chain) as running:
        yield running


def credentials(pair: Pair) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(pair.chain.read_bytes())


def hello(server: ServerProcess, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection whose handshake is done."""
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    return context.wrap_socket(plain, server_hostname="localhost")


def seconds_left(server: ServerProcess) -> float:
    """Of its certificate, by the metrics."""
    lines = server.http.get("/metrics").text.splitlines()
    (sample,) = [line for line in lines if line.startswith("retort_certificate_seconds_left")]
    return float(sample.split()[1])


def test_the_ready_line_says_that_it_is_tls(secure: ServerProcess) -> None:
    assert secure.url.startswith("https://")


def test_triton_s_clients_infer_over_both(secure: ServerProcess, pair: Pair) -> None:
    address, headers = f"localhost:{secure.port}", bearer(KEYS["app"])
    trusting = ssl.create_default_context(cafile=pair.chain)
    with triton_http.InferenceServerClient(address, ssl=True, ssl_context_factory=lambda: trusting) as client:
        answer = client.infer("digits", [image(triton_http, ROWS[:3])], headers=dict(headers))
        assert is_answer_of("1", answer.as_numpy(OUTPUT), 3)
    with triton_grpc.InferenceServerClient(secure.grpc, ssl=True, root_certificates=str(pair.chain)) as calls:
        answer = calls.infer("digits", [image(triton_grpc, ROWS[:3])], headers=dict(headers))
        assert is_answer_of("1", answer.as_numpy(OUTPUT), 3)


def test_curl_and_the_commands_trust_the_authority_they_are_given(
    secure: ServerProcess, pair: Pair, tmp_path: Path
) -> None:
    url = f"https://localhost:{secure.port}"
    curl = ["curl", "--silent", "--show-error", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"]
    asked = [*curl, "-H", f"Authorization: Bearer {KEYS['app']}", f"{url}/v2"]
    done = subprocess.run([*asked, "--cacert", str(pair.chain)], capture_output=True, text=True, check=True)
    assert done.stdout == "200 1.1"
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 60, "the certificate is no system's"

    np.savez(tmp_path / "rows.npz", image=ROWS[:2])
    told = ["--url", url, "--key", KEYS["app"]]
    command = [sys.executable, "-m", "service", "infer", "digits", str(tmp_path / "rows.npz"), *told]
    done = subprocess.run([*command, "--ca", str(pair.chain)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == f"retort: the certificate of {url} is not trusted: name its authority with --ca.\n"


@pytest.mark.parametrize(
    ("version", "spoken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_tls_1_2_and_newer_is_spoken(secure: ServerProcess, pair: Pair, version: ssl.TLSVersion, spoken: bool) -> None:
    context = ssl.create_default_context(cafile=pair.chain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that the oldest is old
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    for port in (secure.port, int(secure.grpc.rsplit(":", 1)[1])):
        if port != secure.port:
            context.set_alpn_protocols(["h2"])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            if spoken:
                context.wrap_socket(plain, server_hostname="localhost").close()
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    context.wrap_socket(plain, server_hostname="localhost")


def test_http_1_1_is_all_that_is_offered(secure: ServerProcess, pair: Pair) -> None:
    context = ssl.create_default_context(cafile=pair.chain)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with hello(secure, context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_a_plain_request_gets_no_answer_and_leaves_no_traceback(secure: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", secure.port), timeout=10) as plain:
        plain.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not plain.recv(1000).startswith(b"HTTP")
    with grpc.insecure_channel(secure.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=5)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert "Traceback" not in secure.log()


def test_who_connects_and_does_not_shake_hands_is_let_go(secure: ServerProcess) -> None:
    """While a good client is served; the deadline is the head's of a request, and silence ends the connection."""
    ports = (secure.port, int(secure.grpc.rsplit(":", 1)[1]))
    silent = [socket.create_connection(("127.0.0.1", port), timeout=60) for port in ports for _ in range(20)]
    for connection in silent[::2]:
        connection.sendall(b"\x16\x03\x01")  # the beginning of a hello
    began_s = time.monotonic()
    assert secure.http.get("/v2/health/live").status_code == 200
    assert time.monotonic() - began_s < HANDSHAKE_LIMIT_S
    for connection in silent:
        with connection, contextlib.suppress(ConnectionError):
            while connection.recv(1000):
                pass
    assert HANDSHAKE_LIMIT_S * 0.5 < time.monotonic() - began_s < HANDSHAKE_LIMIT_S * 4


def test_many_connections_at_once_end_no_server(secure: ServerProcess, pair: Pair) -> None:
    """Were gRPC told of the pair anew with each, as it may be, 36 to 1,900 of them would end the process."""
    context = ssl.create_default_context(cafile=pair.chain)
    context.set_alpn_protocols(["h2"])
    port = int(secure.grpc.rsplit(":", 1)[1])

    def connect(_: int) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
        return 1

    with ThreadPoolExecutor(8) as clients:
        assert sum(clients.map(connect, range(4000))) == 4000
    assert secure.process.poll() is None


def test_a_certificate_is_renewed_while_the_server_serves(tmp_path: Path) -> None:
    old, new = make_pair(tmp_path, "old", days=5), make_pair(tmp_path, "new", days=90)
    live = Pair(tmp_path / "live.crt", tmp_path / "live.key")
    shutil.copy(old.chain, live.chain)
    shutil.copy(old.key, live.key)

    def grpc_trusts(server: ServerProcess, pair: Pair) -> bool:
        with grpc.secure_channel(server.grpc, credentials(pair)) as channel:
            try:
                channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
            except grpc.RpcError:
                return False
            return True

    def http_trusts(server: ServerProcess, pair: Pair) -> bool:
        try:
            hello(server, ssl.create_default_context(cafile=pair.chain)).close()
        except ssl.SSLCertVerificationError:
            return False
        return True

    with ServerProcess([*MODELS, *live.options], tmp_path, ca=old.chain) as server:
        assert [trusts(server, old) for trusts in (http_trusts, grpc_trusts)] == [True, True]
        assert 4 < seconds_left(server) / DAY_S <= 5
        assert server.log().count("the certificate ends soon") == 1
        assert server.http.get("/v2/health/live").status_code == 200
        shutil.copy(new.chain, live.chain)
        shutil.copy(new.key, live.key)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "certificate read again" in server.log())
        assert [trusts(server, new) for trusts in (http_trusts, grpc_trusts)] == [True, True]
        assert [trusts(server, old) for trusts in (http_trusts, grpc_trusts)] == [False, False]
        assert server.http.get("/v2/health/live").status_code == 200, "a connection that is open stays"
        assert 89 < seconds_left(server) / DAY_S <= 90
        assert server.log().count("the certificate ends soon") == 1


def test_what_cannot_be_used_ends_the_start_in_a_sentence(pair: Pair, tmp_path: Path) -> None:
    wrong = Pair(pair.chain, make_pair(tmp_path, "other").key)
    ports = ["--http-port", "0", "--grpc-port", "0"]
    command = [sys.executable, "-m", "service", "serve", *MODELS, *wrong.options, *ports]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("retort: ")]
    assert line == f"retort: the key {wrong.key} is not that of the certificate {wrong.chain}."


def test_open_connections_in_any_state_do_not_hold_the_end_up(pair: Pair, tmp_path: Path) -> None:
    """Silent ones, ones in the middle of their handshake, idle ones, and one amid a request."""
    trusting = ssl.create_default_context(cafile=pair.chain)
    with ServerProcess([*MODELS, *pair.options], tmp_path, ca=pair.chain) as server, contextlib.ExitStack() as opened:
        ports = (server.port, int(server.grpc.rsplit(":", 1)[1]))
        for port in ports:
            for first in (b"", b"\x16\x03\x01"):
                silent = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                silent.sendall(first)
        for sent in (b"", b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            idle = opened.enter_context(hello(server, trusting))
            idle.sendall(sent)
        channel = opened.enter_context(grpc.secure_channel(server.grpc, credentials(pair)))
        channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=20)
        assert server.http.get("/v2/health/live").status_code == 200
        began_s = time.monotonic()
        assert server.terminate(timeout_s=60) == 0
        assert time.monotonic() - began_s < 20, "the drain has 30"
        assert "Traceback" not in server.log()
