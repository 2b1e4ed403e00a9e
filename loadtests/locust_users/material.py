"""What all users of one Locust process share: ready requests, and what is the right answer to each.

Right is what golden cases say, where the data holds them; else what each version answered beforehand, asked alone.
Knows nothing of Locust.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from loadtests.generator.block import WRONG, Answer
from loadtests.generator.checking import UNREADABLE, Checker, decode, decode_grpc
from loadtests.grpc_messages import messages_of
from loadtests.pools import Encoding, Pool, Protocol, Rows, Signature, infer_path, requests_of
from loadtests.rows import rows_for, with_reference
from loadtests.server import Server

_HEADERS = ("Content-Type", "Inference-Header-Content-Length")


@dataclass(frozen=True, slots=True)
class Request:
    """The headers and the body of an HTTP request."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Material:
    """Requests to a model and their right answers.

    Attributes:
        model: its name.
        version: that is asked for; "" for whichever is active.
        signature: of it.
        references: version -> the rows with what that version answers to them.
        key: sent as a bearer token; "" sends none.
    """

    model: str
    version: str
    signature: Signature
    references: Mapping[str, Rows]
    key: str = ""

    @cached_property
    def rows(self) -> Rows:
        """What is sent; the same rows for every version."""
        return next(iter(self.references.values()))

    @property
    def path(self) -> str:
        """Of inference over HTTP."""
        return infer_path(self.model, self.version)

    @property
    def name(self) -> str:
        """How Locust's tables call it."""
        return f"{self.model}/{self.version or 'active'}"

    def http_requests(self, encoding: Encoding) -> tuple[Request, ...]:
        """One a row."""
        ready = requests_of(self.rows, self.signature, host="", path="", encoding=encoding)
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return tuple(_split(one, key) for one in ready)

    def grpc_requests(self) -> tuple[bytes, ...]:
        """One serialised ModelInferRequest a row."""
        return messages_of(self.rows, self.signature, model=self.model, version=self.version)

    def judge(self, protocol: Protocol) -> Judge:
        """Who looks at the answers."""
        return Judge(self, protocol)


class Judge:
    """Says what is wrong with an answer."""

    def __init__(self, material: Material, protocol: Protocol) -> None:
        self._asked = material.version
        self._decode = decode_grpc if protocol == "grpc" else decode
        output = next(iter(material.signature.outputs), "")
        self._checkers = {
            version: Checker(Pool(("", 0), (), rows, material.signature, output, version, protocol=protocol))
            for version, rows in material.references.items()
        }

    def fault_in(self, answer: Answer, row: int) -> str | None:
        """A few words for the answer to this row's request; None where it is right."""
        try:
            version = self._asked or self._decode(answer)[0]
            checker = self._checkers.get(version)
            if checker is not None and checker.check(answer, row)[0] != WRONG:
                return None
            version = self._decode(answer)[0]
        except UNREADABLE:
            return "unreadable answer: no inference response of the protocol"
        if self._asked and version != self._asked:
            return f"another version: {version or 'an unnamed one'} answered for {self._asked}"
        return f"wrong answer of {version}" if version in self._checkers else f"unknown version: {version} answered"


def prepare(url: str, model: str, version: str, data: Path | None, key: str = "") -> Material:
    """Asks the server for what there is to know, and makes everything ready.

    Args:
        url: http://host:port of the server.
        model: its name.
        version: that will be asked for; "" for whichever is active.
        data: a .npz of inputs or golden cases; None for digits' test set, or made-up rows.
        key: sent as a bearer token.

    Raises:
        CannotLoad, BadRows: the server does not answer, or the rows do not fit; the message is one sentence.
    """
    server = Server(url, key or None)
    try:
        rows = rows_for(model, server.metadata(model, version), data, seed=0)
        versions = (version,) if version else server.versions(model)
        signature = server.signature(model, version)
        known = rows.expected is not None
        references = {
            one: rows if known else with_reference(rows, server, model, one, signature) for one in versions or ("",)
        }
    finally:
        server.close()
    return Material(model, version, signature, references, key)


def _split(request: bytes, more: Mapping[str, str]) -> Request:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return Request({name: value for name, value in lines if name in _HEADERS} | dict(more), body)
