"""The client: where it sends, with which key, and the sentence for each way of not getting an answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.cli.client import Client, model_path
from service.cli.failure import Failure
from tests.support.certificates import make_pair
from tests.unit.cli.conftest import Retort, ScriptedServer

_ASK = "name its authority with --ca"


@pytest.fixture
def deaf_url() -> Iterator[str]:
    """A port that nobody listens on, kept from anybody else."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def failure(client: Client, path: str = "/v2") -> str:
    with pytest.raises(Failure) as caught:
        client.get(path)
    return str(caught.value)


def test_get_and_post_give_parsed_json(server: ScriptedServer) -> None:
    server.on("GET /v2", {"name": "retort"})
    server.on("POST /v2/repository/index", [1])
    client = Client(server.url + "/", None)
    assert client.get("/v2") == {"name": "retort"}
    assert client.post("/v2/repository/index", {"ready": True}) == [1]
    assert server.requests[1].json == {"ready": True}


def test_the_key_is_a_bearer_token(server: ScriptedServer) -> None:
    server.on("GET /v2", {})
    Client(server.url, "secret").get("/v2")
    Client(server.url, None).get("/v2")
    assert server.requests[0].headers["Authorization"] == "Bearer secret"
    assert "Authorization" not in server.requests[1].headers


def test_url_and_key_may_come_from_the_environment(
    retort: Retort, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETORT_URL", server.url)
    monkeypatch.setenv("RETORT_KEY", "secret")
    server.on("POST /v2/repository/models/digits/rollback", {"error": "no"}, status=404)
    assert retort("rollback", "digits").code == 1
    assert server.requests[0].headers["Authorization"] == "Bearer secret"


def test_nobody_listens(deaf_url: str) -> None:
    assert failure(Client(deaf_url, None)) == f"no server answers at {deaf_url}: is `retort serve` running?"


def test_a_server_that_hangs_up_gives_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = Client(url, None)
        client._http.timeout = 0.2
        assert failure(client).startswith(f"the server at {url} gave no answer: ")


def test_a_server_that_wants_tls_is_asked_for_by_another_url() -> None:
    def hang_up() -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        hung_up = pool.submit(hang_up)
        said = failure(Client(f"http://127.0.0.1:{listener.getsockname()[1]}", None))
        hung_up.result()
    assert said.endswith("; the URL of a server with a certificate begins with https://.")


def test_a_server_without_tls_is_asked_for_by_another_url(server: ScriptedServer) -> None:
    url = server.url.replace("http", "https")
    assert failure(Client(url, None)) == (
        f"no TLS is spoken at {url}: the URL of a server without a certificate begins with http://."
    )


def test_a_handshake_that_fails_is_told_in_the_words_of_tls() -> None:
    def alert() -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal: handshake failure

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        alerted = pool.submit(alert)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        assert failure(Client(url, None)).startswith(f"there is no TLS connection to {url}: [SSL")
        alerted.result()


@pytest.mark.parametrize(
    ("with_authority", "why"), [(True, "IP address mismatch, certificate is not valid for '127.0.0.2'"), (False, _ASK)]
)
def test_a_certificate_is_refused_with_its_reason(tmp_path: Path, with_authority: bool, why: str) -> None:
    pair = make_pair(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.chain, pair.key)

    def shake() -> None:
        with listener.accept()[0] as connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.2", 0)) as listener, ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(shake)
        url = f"https://127.0.0.2:{listener.getsockname()[1]}"
        said = failure(Client(url, None, pair.chain if with_authority else None))
        assert said == f"the certificate of {url} is not trusted: {why}."
        shaken.result()


def test_who_needs_a_key_is_told_how_to_give_it(server: ScriptedServer) -> None:
    server.on("GET /v2", {"error": "a key is needed"}, status=401)
    assert failure(Client(server.url, None)) == "a key is needed; here with --key or RETORT_KEY"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "localhost:8000", "", "ftp://127.0.0.1"])
def test_a_url_without_its_scheme_is_told_what_to_begin_with(url: str) -> None:
    with pytest.raises(Failure, match=f"'{url}' is not a server's URL: it begins with http://"):
        Client(url, None)


def test_an_authority_that_is_none_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(Failure, match=r"ca\.pem holds no certificates in PEM form\."):
        Client("https://127.0.0.1:8000", None, tmp_path / "ca.pem")


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:port"])
def test_a_url_that_is_none_gives_a_sentence(url: str) -> None:
    assert "gave no answer: " in failure(Client(url, None))


def test_an_error_body_becomes_the_sentence(server: ScriptedServer) -> None:
    server.on("GET /v2", {"error": "there is no model 'x' here"}, status=404)
    assert failure(Client(server.url, None)) == "there is no model 'x' here"


@pytest.mark.parametrize("body", [b"<html>", b'"text"', b"{}", b"null"])
def test_an_error_without_our_body_names_the_status(server: ScriptedServer, body: bytes) -> None:
    server.on("GET /v2", body, status=502)
    assert "answered with status 502" in failure(Client(server.url, None))


def test_a_success_that_is_no_json_gives_a_sentence(server: ScriptedServer) -> None:
    server.on("GET /v2", b"<html>")
    assert "something other than JSON" in failure(Client(server.url, None))


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: ScriptedServer, deaf_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", deaf_url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.on("GET /v2", {})
    assert Client(server.url, None).get("/v2") == {}
    assert "no server answers" in failure(Client("http://retort.invalid", None))


@pytest.mark.parametrize(
    ("model", "version", "path"),
    [
        ("digits", None, "/v2/models/digits"),
        ("digits", "1-int8", "/v2/models/digits/versions/1-int8"),
        ("../x", "a/b", "/v2/models/..%2Fx/versions/a%2Fb"),
    ],
)
def test_names_are_quoted_in_paths(model: str, version: str | None, path: str) -> None:
    assert model_path("/v2", model, version) == path
