"""Who may change what is served or use shared memory.

With keys: the holder of one with the scope `admin`, wherever it comes from; routes have been held to that before a
handler is called. Without keys: whoever sits here, and no page in their browser.

A page can make a browser post to the loopback address, and a proxy on this machine can carry requests from anywhere;
the `Host`, `Content-Type`, `Origin` and `Forwarded` headers give both away. That holds for pages which may use the
service for inference too: a browser asks before it sends them JSON, and is told yes. Knows neither routes nor keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address

from starlette.types import Scope

from service.core.errors import RetortError
from service.gateway.rights import Holder, Right

_ONLY = "without keys, models are changed only from the server's own machine"
_SHARED_MEMORY = "without keys, shared memory is used only from the server's own machine"
_SETTINGS = "without keys, settings are changed only from the server's own machine"
_FORM = "the header Content-Type must be application/json"
HOLDER = "retort.holder"  # of a request's scope
_OF_BROWSERS = (b"origin", b"sec-fetch-site")  # a page cannot keep its browser from adding them


class Forbidden(RetortError):
    """The request is understood, and its sender may not make it."""


class Unauthenticated(RetortError):
    """The request brings no key, or one that nobody holds."""


class OverQuota(RetortError):
    """Its sender makes more requests than it may: try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def check_admin(scope: Scope, *, needs_content_type: bool = True) -> None:
    """Lets an administrative request pass, or raises.

    Args:
        scope: of the request.
        needs_content_type: False for Triton's own routes, whose clients send none or any: curl's form, aiohttp's
            octets.

    Raises:
        Forbidden: says which of the conditions does not hold.
    """
    if holder_of(scope) is not None:
        return
    headers = _check_local(scope, _ONLY)
    kind = headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if needs_content_type and kind != b"application/json":
        raise Forbidden(_FORM)


def check_settings(scope: Scope) -> None:
    """Lets a request change what is traced or logged, by the rules of `check_admin` for Triton's own routes.

    Raises:
        Forbidden: says which of the conditions does not hold.
    """
    if holder_of(scope) is None:
        _check_local(scope, _SETTINGS)


def check_shared_memory(scope: Scope) -> None:
    """Lets a request use shared memory, or raises: its sender must sit on this machine, and be no web page.

    Raises:
        Forbidden: says which of the conditions does not hold.
    """
    if not _is_admin(holder_of(scope)):
        _check_local(scope, _SHARED_MEMORY)


def holder_of(scope: Scope) -> Holder | None:
    """Whose key the request came with; None where the server has no keys."""
    holder: Holder | None = scope.get(HOLDER)
    return holder


def _is_admin(holder: Holder | None) -> bool:
    """Whether the holder has the scope for shared memory; False where there are no keys. Raises Forbidden."""
    if holder is not None and not holder.may(Right.ADMIN):
        raise Forbidden(f"shared memory needs the scope 'admin', which the key of '{holder.name}' has not")
    return holder is not None


def _check_local(scope: Scope, only: str) -> Mapping[bytes, bytes]:
    """The headers of a request that comes from this machine itself; `only` begins the sentence of a refusal."""
    pairs = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
    headers = dict(pairs)
    client = scope.get("client")
    if client is None or not _is_loopback(client[0]):
        raise Forbidden(f"{only}, and this request comes from elsewhere")
    if [name for name, _ in pairs].count(b"host") != 1 or not _names_loopback(headers[b"host"]):
        raise Forbidden(f"{only}, and the header Host names another one")
    if any(name == b"forwarded" or name.startswith(b"x-forwarded-") for name in headers):
        raise Forbidden(f"{only}, and this request was forwarded")
    if any(name in headers for name in _OF_BROWSERS):
        raise Forbidden(f"{only}, and by no web page")
    return headers


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _names_loopback(host: bytes) -> bool:
    """Whether a Host header, with or without a port, is this machine by a name that no DNS answer can turn."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return _is_loopback(text[1:].partition("]")[0])
    name = text.rpartition(":")[0] if ":" in text else text
    return name == "localhost" or _is_loopback(name)


def check_admin_call(host: str, metadata: Mapping[str, str], holder: Holder | None = None) -> None:
    """Lets an administrative gRPC call pass, or raises Forbidden; no browser can make one.

    Args:
        host: the peer's address without its port; "" for none.
        metadata: of the call, by lower-case name.
        holder: whose key it came with; None where the server has no keys.
    """
    if holder is None:
        _check_call(host, metadata, _ONLY)


def check_settings_call(host: str, metadata: Mapping[str, str], holder: Holder | None = None) -> None:
    """Lets a gRPC call change what is traced or logged, or raises Forbidden."""
    if holder is None:
        _check_call(host, metadata, _SETTINGS)


def check_shared_memory_call(host: str, metadata: Mapping[str, str], holder: Holder | None = None) -> None:
    """Lets a gRPC call use shared memory, or raises Forbidden."""
    if not _is_admin(holder):
        _check_call(host, metadata, _SHARED_MEMORY)


def _check_call(host: str, metadata: Mapping[str, str], only: str) -> None:
    if not _is_loopback(host):
        raise Forbidden(f"{only}, and this call comes from elsewhere")
    if any(name == "forwarded" or name.startswith("x-forwarded-") for name in metadata):
        raise Forbidden(f"{only}, and this call was forwarded")
