from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from service.gateway.access import (
    HOLDER,
    Forbidden,
    check_admin,
    check_admin_call,
    check_settings,
    check_settings_call,
    check_shared_memory,
    check_shared_memory_call,
)
from service.gateway.rights import Holder, Right

HOST = ("host", "127.0.0.1:8000")
JSON = ("content-type", "application/json")


def scope(*headers: tuple[str, str], peer: Any = ("127.0.0.1", 5)) -> dict[str, Any]:
    return {"type": "http", "client": peer, "headers": [(k.encode(), v.encode("latin-1")) for k, v in headers]}


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may(peer: str) -> None:
    check_admin(scope(HOST, JSON, peer=(peer, 5)))


@pytest.mark.parametrize("peer", [("10.0.0.1", 5), ("::2", 5), ("::ffff:10.0.0.1", 5), ("localhost", 5), ("", 5), None])
def test_another_machine_may_not(peer: Any) -> None:
    with pytest.raises(Forbidden, match="comes from elsewhere"):
        check_admin(scope(HOST, JSON, peer=peer))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.2:1", "[::1]", "[::1]:8000"])
def test_every_name_of_this_machine_is_known(host: str) -> None:
    check_admin(scope(("host", host), JSON))


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "example.com:127",
        "10.0.0.1:8000",
        "[::2]:8000",
        "[localhost]",
        "localhost@example.com",
        "0.0.0.0",
        "",
        ":8000",
        "\xff",
    ],
)
def test_a_host_that_dns_may_have_turned_here_is_refused(host: str) -> None:
    with pytest.raises(Forbidden, match="Host names another one"):
        check_admin(scope(("host", host), JSON))


@pytest.mark.parametrize("headers", [[JSON], [HOST, HOST, JSON], [("host", "example.com"), HOST, JSON]])
def test_there_is_exactly_one_host(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Forbidden, match="Host"):
        check_admin(scope(*headers))


@pytest.mark.parametrize(
    "name", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "X-Forwarded-For"]
)
def test_what_a_proxy_forwarded_is_refused(name: str) -> None:
    with pytest.raises(Forbidden, match="was forwarded"):
        check_admin(scope(HOST, JSON, (name, "127.0.0.1")))


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_json(kind: str) -> None:
    check_admin(scope(HOST, ("content-type", kind)))
    check_admin(scope(HOST, ("content-type", kind)), needs_content_type=False)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonx"],
)
def test_what_a_page_can_post_without_asking_is_refused(kind: str) -> None:
    form = ("content-type", kind)
    with pytest.raises(Forbidden, match="Content-Type must be application/json"):
        check_admin(scope(HOST, form))


def test_only_triton_s_routes_go_without_a_content_type_or_with_any() -> None:
    check_admin(scope(HOST), needs_content_type=False)
    for kind in ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain; charset=utf-8"):
        check_admin(scope(HOST, ("content-type", kind)), needs_content_type=False)
    with pytest.raises(Forbidden, match="Content-Type"):
        check_admin(scope(HOST))


@pytest.mark.parametrize(
    "header",
    [("origin", "http://evil.example"), ("origin", "null"), ("Origin", "http://localhost"), ("sec-fetch-site", "none")],
)
@pytest.mark.parametrize("more", [[], [JSON], [("content-type", "text/plain")]])
def test_a_page_is_refused_even_one_that_its_browser_let_send_json(
    header: tuple[str, str], more: list[tuple[str, str]]
) -> None:
    for check in (
        check_admin,
        partial(check_admin, needs_content_type=False),
        check_settings,
        check_shared_memory,
    ):
        with pytest.raises(Forbidden, match="only from the server's own machine, and by no web page"):
            check(scope(HOST, header, *more))
    check_settings(scope(HOST, *more))


OCTETS = ("content-type", "application/octet-stream")


@pytest.mark.parametrize("headers", [[HOST], [HOST, OCTETS], [HOST, JSON]])
def test_whoever_sits_here_may_use_shared_memory_in_any_form_of_body(headers: list[tuple[str, str]]) -> None:
    check_shared_memory(scope(*headers))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (scope(HOST, peer=("10.0.0.1", 5)), "shared memory is used only from .* comes from elsewhere"),
        (scope(("host", "example.com")), "shared memory is used only from .* Host names another one"),
        (scope(HOST, ("x-forwarded-for", "10.0.0.1")), "shared memory is used only from .* was forwarded"),
        (scope(HOST, ("origin", "http://x")), "by no web page"),
        (scope(HOST, OCTETS, ("sec-fetch-site", "cross-site")), "by no web page"),
    ],
)
def test_nobody_else_and_no_page_may_use_shared_memory(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Forbidden, match=words):
        check_shared_memory(given)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.8.0.1", "::ffff:127.0.0.1"])
def test_a_call_from_this_machine_may_change_models(host: str) -> None:
    check_admin_call(host, {"user-agent": "grpc"})
    check_settings_call(host, {})
    check_shared_memory_call(host, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_with_keys_shared_memory_is_for_holders_of_admin_wherever_they_sit(host: str) -> None:
    admin, other = Holder("a", frozenset({Right.ADMIN})), Holder("b", frozenset({Right.INFER}))
    check_shared_memory({**scope(peer=(host, 5)), HOLDER: admin})
    check_shared_memory_call(host, {}, admin)
    with pytest.raises(Forbidden, match="the key of 'b' has not"):
        check_shared_memory({**scope(HOST, peer=(host, 5)), HOLDER: other})
    with pytest.raises(Forbidden, match="the key of 'b' has not"):
        check_shared_memory_call(host, {}, other)


@pytest.mark.parametrize(
    ("host", "metadata", "words"),
    [
        ("192.0.2.1", {}, "comes from elsewhere"),
        ("", {}, "comes from elsewhere"),
        ("localhost.example", {}, "comes from elsewhere"),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}, "was forwarded"),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}, "was forwarded"),
    ],
)
def test_a_call_from_elsewhere_may_not(host: str, metadata: dict[str, str], words: str) -> None:
    for check in (check_admin_call, check_settings_call, check_shared_memory_call):
        with pytest.raises(Forbidden, match=words):
            check(host, metadata)
