"""Requests made ready ahead: one for each row of the data, as bytes for the wire, with what it should give.

Inputs come from the user's .npz, else from the version's golden cases, else they are made up from the metadata: then
nothing is known of what is right, and only agreement with other versions can be told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from conformance.tensors import listed, pack
from loadtests.generator.tls import Tls

Array = NDArray[Any]
Encoding = Literal["binary", "json"]
Protocol = Literal["http", "grpc"]

MOST_ROWS = 512


@dataclass(frozen=True, slots=True)
class Rows:
    """What is sent.

    Attributes:
        inputs: input's name -> (n, ...); a request carries one row.
        labels: int64 (n,), the right class of each; None where nobody knows.
        expected: output's name -> (n, ...), what the version itself is known to answer; None where nobody knows.
        source: where they come from, in a word.
    """

    inputs: Mapping[str, Array]
    labels: NDArray[np.int64] | None = None
    expected: Mapping[str, Array] | None = None
    source: str = "made up"

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, most: int, random: np.random.Generator) -> Rows:
        """At most so many of them, drawn without replacement."""
        if len(self) <= most:
            return self
        at = np.sort(random.choice(len(self), most, replace=False))
        return Rows(
            {name: array[at] for name, array in self.inputs.items()},
            None if self.labels is None else self.labels[at],
            None if self.expected is None else {name: array[at] for name, array in self.expected.items()},
            self.source,
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """A version's inputs and outputs, name -> datatype of the protocol."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pool:
    """Ready requests to one version of one model at one server.

    Attributes:
        address: host and port, of HTTP or gRPC.
        requests: one a row: whole HTTP requests, or serialised messages of gRPC.
        rows: what they carry.
        signature: of the version.
        output: the output whose largest value names the class.
        version: that must answer; "" takes whichever does.
        versions: that must answer, one for each row, in place of `version`; empty where it is one for all.
        answers: version -> outputs as in `rows.expected`, where any of several versions may answer.
        protocol: how the requests travel.
        metadata: sent with each call of gRPC, such as a key.
        tls: how connections are made; None for plain ones.
    """

    address: tuple[str, int]
    requests: tuple[bytes, ...]
    rows: Rows
    signature: Signature
    output: str
    version: str
    versions: tuple[str, ...] = ()
    answers: Mapping[str, Mapping[str, Array]] | None = None
    protocol: Protocol = "http"
    metadata: tuple[tuple[str, str], ...] = ()
    tls: Tls | None = None


def infer_path(model: str, version: str) -> str:
    """The path of inference; without a version the server chooses."""
    named = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/v2/models/{quote(model, safe='')}{named}/infer"


def requests_of(
    rows: Rows, signature: Signature, *, host: str, path: str, encoding: Encoding, headers: Sequence[str] = ()
) -> tuple[bytes, ...]:
    """One request for each row.

    Args:
        rows: what to send.
        signature: of the version.
        host: for the head.
        path: of inference.
        encoding: of inputs and outputs alike.
        headers: further lines of the head, such as a key.
    """
    return tuple(_request(rows, at, signature, host, path, encoding, headers) for at in range(len(rows)))


def _request(
    rows: Rows, at: int, signature: Signature, host: str, path: str, encoding: Encoding, headers: Sequence[str]
) -> bytes:
    arrays = {name: rows.inputs[name][at : at + 1] for name in signature.inputs}
    binary = encoding == "binary"
    packed = [pack(array) for array in arrays.values()] if binary else []
    document = {
        "inputs": [
            {"name": name, "datatype": signature.inputs[name], "shape": list(array.shape)}
            | ({"parameters": {"binary_data_size": len(packed[place])}} if binary else {"data": listed(array)})
            for place, (name, array) in enumerate(arrays.items())
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": binary}} for name in signature.outputs],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    body = b"".join((text, *packed))
    kind = "application/octet-stream" if binary else "application/json"
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    if binary:
        lines.append(f"Inference-Header-Content-Length: {len(text)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
