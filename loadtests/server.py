"""A server of the Open Inference Protocol under load: what it says of its models, and what its process uses.

Reads only; the traffic goes past this on connections of its own. What a server does not tell is None, and a server
on another machine has no process here.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import psutil

from loadtests.generator.tls import Tls
from loadtests.here import joules, process_at
from loadtests.measures.observed import ServerSide
from loadtests.pools import Signature

N = TypeVar("N", int, float)

TIMEOUT_S = 10.0
# For a server that was started again to answer; looked for now and then.
RESTART_S, _LOOK_EVERY_S = 10.0, 0.2
_NS_A_MS = 1e6
_PORTS = {"http": 80, "https": 443}
# What the words of a failed connection mean to whoever gave its address.
_HINTS = {
    "certificate verify failed": "; its authority is named with --ca",
    "refused": "; no server listens there",
}


class CannotLoad(RuntimeError):
    """The server cannot be loaded as asked; the message is one sentence."""


class ServerGone(CannotLoad):
    """The server answered, and does so no more; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Counters:
    """The server's running totals at one moment, of one version; None where it does not tell.

    Those of a server that was started again meanwhile go backwards: then nothing is known of the time in between.
    """

    requests: int | None
    executions: int | None
    rows: int | None
    queue_ns: int | None
    compute_ns: int | None
    cpu_s: float | None
    joules: float | None
    resident_bytes: int | None

    def since(self, earlier: Counters) -> ServerSide:
        """What happened in between."""
        requests = _less(self.requests, earlier.requests)
        queue, compute = (
            _less(now, then) for now, then in ((self.queue_ns, earlier.queue_ns), (self.compute_ns, earlier.compute_ns))
        )
        return ServerSide(
            requests=requests,
            executions=_less(self.executions, earlier.executions),
            rows=_less(self.rows, earlier.rows),
            queue_ms=queue / requests / _NS_A_MS if queue is not None and requests else None,
            compute_ms=compute / requests / _NS_A_MS if compute is not None and requests else None,
            cpu_s=_less(self.cpu_s, earlier.cpu_s),
            joules=_less(self.joules, earlier.joules),
            resident_bytes=self.resident_bytes,
        )


class Server:
    """One server; a context manager that closes its connections.

    Args:
        url: http://host:port, or https://host:port.
        key: sent as a bearer token.
        ca: a PEM file of the authorities that are trusted over https; None for the system's.

    Attributes:
        tls: how its connections are made; None for plain ones.
    """

    def __init__(self, url: str, key: str | None = None, ca: Path | None = None) -> None:
        self.url = url.rstrip("/")
        scheme, self.address = _place_of(self.url)
        if key is not None and not (key.isascii() and key.isprintable()):
            raise CannotLoad("a key consists of printable ASCII characters.")
        self.tls = Tls(ca) if scheme == "https" else None
        self._verify = _trusting(self.tls)
        self.headers = (f"Authorization: Bearer {key}",) if key else ()
        self._bearer = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = self.client()
        self._process = process_at(*self.address)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def client(self) -> httpx.Client:
        """A client of its own, for whoever wants to ask or to order something; it must be closed."""
        return httpx.Client(base_url=self.url, headers=self._bearer, timeout=TIMEOUT_S, verify=self._verify)

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    @cached_property
    def about(self) -> dict[str, Any]:
        """What it says of itself; empty where it says nothing."""
        try:
            return self._json("/v2")
        except CannotLoad:
            return {}

    @property
    def calls_itself(self) -> str:
        """Its name and version, in its own words."""
        return " ".join(str(self.about[key]) for key in ("name", "version") if key in self.about) or "nameless"

    @property
    def takes_binary(self) -> bool:
        """Whether it takes binary tensors; one that names no extensions at all is taken to."""
        named = self.about.get("extensions")
        return named is None or "binary_tensor_data" in named

    def versions(self, model: str) -> tuple[str, ...]:
        """The versions that the model's metadata names.

        Raises:
            CannotLoad: there is no such model or no such server.
        """
        return tuple(str(one) for one in self._json(f"/v2/models/{quote(model, safe='')}").get("versions") or ())

    def summaries(self, model: str) -> list[dict[str, Any]]:
        """What the server tells of each version's card; empty where it knows no cards, as other servers do."""
        told = self._known(f"/v2/models/{quote(model, safe='')}/versions").get("versions")
        return [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []

    def card(self, model: str, version: str) -> dict[str, Any]:
        """The whole card of a version; empty where it has none, or the server knows no cards."""
        return self._known(f"/v2/models/{quote(model, safe='')}/versions/{quote(version, safe='')}/card")

    def metadata(self, model: str, version: str) -> dict[str, Any]:
        """Of one version; "" asks for whichever answers.

        Raises:
            CannotLoad: there is no such version or no such server.
        """
        named = f"/versions/{quote(version, safe='')}" if version else ""
        return self._json(f"/v2/models/{quote(model, safe='')}{named}")

    def signature(self, model: str, version: str) -> Signature:
        """Its inputs and outputs.

        Raises:
            CannotLoad: as `metadata`, or it does not tell them.
        """
        signature = signature_of(self.metadata(model, version))
        if signature is None:
            raise CannotLoad(f"{self.url} does not tell the inputs and outputs of {model}.")
        return signature

    def counters(self, model: str, version: str) -> Counters:
        """Its totals now. A server without the statistics extension tells nothing of requests."""
        told = self._statistics(model, version)
        stats = told.get("inference_stats") or {}
        success = stats.get("success") or {}
        compute = [(stats.get(f"compute_{part}") or {}).get("ns") for part in ("input", "infer", "output")]
        return Counters(
            requests=success.get("count"),
            executions=told.get("execution_count"),
            rows=told.get("inference_count"),
            queue_ns=(stats.get("queue") or {}).get("ns"),
            compute_ns=sum(compute) if None not in compute else None,
            cpu_s=self._cpu_s(),
            joules=joules() if self._process is not None else None,
            resident_bytes=self._resident_bytes(),
        )

    def _statistics(self, model: str, version: str) -> dict[str, Any]:
        named = f"/versions/{quote(version, safe='')}" if version else ""
        told = self._known(f"/v2/models/{quote(model, safe='')}{named}/stats").get("model_stats")
        return told[0] if isinstance(told, list) and told and isinstance(told[0], dict) else {}

    def _known(self, path: str) -> dict[str, Any]:
        """What it answers; empty where it does not know the question, as other servers do."""
        try:
            answer = self._http.get(path)
            told = answer.json() if answer.status_code == httpx.codes.OK else {}
        except (httpx.HTTPError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def _json(self, path: str) -> dict[str, Any]:
        try:
            answer = self._http.get(path)
        except httpx.HTTPError as error:
            hint = next((hint for words, hint in _HINTS.items() if words in str(error)), "")
            raise CannotLoad(f"{self.url} does not answer: {error}{hint}.") from None
        if answer.status_code != httpx.codes.OK:
            raise CannotLoad(f"{self.url}{path} answers {answer.status_code}: {error_in(answer)}")
        try:
            told = answer.json()
        except ValueError:
            raise CannotLoad(f"{self.url}{path} answers no JSON: {answer.text[:200].strip()}") from None
        return told if isinstance(told, dict) else {}

    def comes_back(self, within_s: float | None = None) -> bool:
        """Whether anybody answers there again, with whatever, in this time: some servers are started anew by others."""
        ends_s = time.monotonic() + (RESTART_S if within_s is None else within_s)
        while not (found := self._answers()) and time.monotonic() < ends_s:
            time.sleep(_LOOK_EVERY_S)
        return found

    def _answers(self) -> bool:
        try:
            self._http.get("/v2/health/live")
        except httpx.HTTPError:
            return False
        return True

    def _cpu_s(self) -> float | None:
        # The system adds up what a process and those of its children have used that have ended meanwhile.
        return self._of_family(lambda one: sum(one.cpu_times()[:4]))

    def _resident_bytes(self) -> int | None:
        return self._of_family(lambda one: one.memory_info().rss)

    def _of_family(self, read: Callable[[psutil.Process], N]) -> N | None:
        """Of the process and its children together: some servers answer from workers, any of which may just end."""
        process, found = self._process, list[N]()
        if process is None:
            return None
        with suppress(psutil.NoSuchProcess):
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    found.append(read(one))
        return sum(found) if found else None


def signature_of(metadata: dict[str, Any]) -> Signature | None:
    """Inputs and outputs; None where the metadata does not tell them, which other servers leave to their users."""
    inputs, outputs = (_datatypes(metadata.get(part)) for part in ("inputs", "outputs"))
    return Signature(inputs, outputs) if inputs and outputs else None


def error_in(answer: httpx.Response) -> str:
    """What an answer that is an error says, without the JSON around it; its text as it is, where that is otherwise."""
    try:
        told = answer.json().get("error")
    except (ValueError, AttributeError):
        told = None
    return (told if isinstance(told, str) else answer.text)[:200].strip()


def _datatypes(tensors: Any) -> dict[str, str]:
    return {one["name"]: one["datatype"] for one in tensors or ()}


def _place_of(url: str) -> tuple[str, tuple[str, int]]:
    """Scheme, host and port; requests go to the protocol's own paths, so a URL with more in it is refused."""
    try:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port
        host.encode("idna")
    except ValueError as error:
        raise CannotLoad(f"{url!r} is no address of a server: {error}.") from None
    if split.scheme not in _PORTS or not host:
        raise CannotLoad(f"{url!r} must begin with http:// or https:// and name a host.")
    if split.path or split.query or split.fragment or split.username is not None:
        raise CannotLoad(f"{url!r} must end with the host or the port.")
    return split.scheme, (host, port or _PORTS[split.scheme])


def _trusting(tls: Tls | None) -> ssl.SSLContext | bool:
    if tls is None:
        return True
    try:
        return tls.context()
    except OSError:
        raise CannotLoad(f"{tls.ca} holds no certificates in PEM form.") from None


def _less(now: Any, then: Any) -> Any:
    return None if now is None or then is None or now < then else now - then
