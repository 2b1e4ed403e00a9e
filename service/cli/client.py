"""A running server as the client commands see it: paths in, parsed answers out, one sentence when it fails.

Knows the wire's paths and error body, nothing of the terminal. httpx is imported when the first client is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from service.cli.failure import Failure
from service.cli.options import DEFAULT_URL

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import httpx

# A swap loads and drains before it answers; the server's own limits end it far sooner.
_ANSWER_TIMEOUT_S = 600.0
_CONNECT_TIMEOUT_S = 5.0
_UNAUTHENTICATED = 401
# OpenSSL's reason, between what every one begins with and the place in Python's source.
_CERTIFICATE = re.compile(r"certificate verify failed: (.*?)\.?(?: \(_ssl|$)")
_ASK_FOR_CA = "name its authority with --ca"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Client:
    """One connection to the server at `url`.

    Args:
        url: scheme, host and port.
        key: sent as a bearer token where given.
        ca: a PEM file of the authorities that are trusted in place of the system's.

    Raises:
        Failure: `url` has no scheme of HTTP, or `ca` is no such file.
    """

    def __init__(self, url: str, key: str | None, ca: Path | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise Failure(f"'{url}' is not a server's URL: it begins with http:// or https://, as {DEFAULT_URL} does.")
        import httpx  # noqa: PLC0415 - a third of a second that `retort --help` need not pay

        self._url = url.rstrip("/")
        self._errors = (httpx.HTTPError, httpx.InvalidURL)
        self._unreachable = (httpx.ConnectError, httpx.ConnectTimeout)
        self._http = httpx.Client(
            verify=True if ca is None else _trusting(ca),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_ANSWER_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            # A proxy of the environment leads away from this machine.
            trust_env=urlsplit(self._url).hostname not in _LOOPBACK,
        )

    def get(self, path: str) -> Any:
        """The JSON that GET answers; raises Failure for anything else."""
        return parsed(self._send("GET", path))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that POST answers to a JSON body; raises Failure for anything else."""
        return parsed(self.post_bytes(path, json.dumps(body).encode(), {"Content-Type": "application/json"}))

    def post_bytes(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The answer to a body that is sent as it is; raises Failure unless it is a success."""
        return self._send("POST", path, content=body, headers=dict(headers))

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, self._url + path, **parts)
        except self._unreachable as error:
            raise Failure(_why_unreachable(self._url, str(error))) from None
        except self._errors as error:
            raise Failure(_why_no_answer(self._url, str(error).rstrip("."))) from None
        if not answer.is_success:
            raise Failure(_refusal(answer))
        return answer


def model_path(prefix: str, model: str, version: str | None = None) -> str:
    """The path of a model or of one of its versions, such as `/v2/models/digits/versions/1-int8`."""
    path = f"{prefix}/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _trusting(ca: Path) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - as httpx

    try:
        return ssl.create_default_context(cafile=ca)
    except OSError:
        raise Failure(f"{ca} holds no certificates in PEM form.") from None


def _why_unreachable(url: str, error: str) -> str:
    if refused := _CERTIFICATE.search(error):
        unknown = "self-signed" in refused[1] or "issuer" in refused[1]
        return f"the certificate of {url} is not trusted: {_ASK_FOR_CA if unknown else refused[1]}."
    if "WRONG_VERSION_NUMBER" in error:
        return f"no TLS is spoken at {url}: the URL of a server without a certificate begins with http://."
    if "[SSL" in error:
        return f"there is no TLS connection to {url}: {error}."
    return f"no server answers at {url}: is `retort serve` running?"


def _why_no_answer(url: str, error: str) -> str:
    # What a server does that expects a TLS handshake and gets a request.
    hung_up = url.startswith("http://") and ("disconnected without sending" in error or "reset by peer" in error)
    hint = "; the URL of a server with a certificate begins with https://" if hung_up else ""
    return f"the server at {url} gave no answer: {error}{hint}."


def parsed(answer: httpx.Response) -> Any:
    """The JSON of an answer; raises Failure where it is something else."""
    try:
        return answer.json()
    except ValueError:
        raise Failure(f"{answer.request.url} answered something other than JSON: is it a retort server?") from None


def _refusal(answer: httpx.Response) -> str:
    try:
        hint = "; here with --key or RETORT_KEY" if answer.status_code == _UNAUTHENTICATED else ""
        return f"{answer.json()['error']}{hint}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered with status {answer.status_code}: is it a retort server?"
