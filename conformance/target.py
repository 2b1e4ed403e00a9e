"""The server under test as the checks see it: its answers over HTTP, and one model with inputs made up for it.

Sends what it is told and judges nothing. Raises `Unreachable` where no server answers.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from conformance.tensors import DTYPES, Array, listed, make_up, of_json, pack, unpack

LENGTH = "Inference-Header-Content-Length"
TIMEOUT_S = 30.0


class Unreachable(Exception):
    """No server answers at the URL; the message is one sentence."""


class Target:
    """One server, and one of its models.

    Args:
        http: a client whose base is the server's URL.
        model: its name, "" for the server alone.
        grpc_url: host and port of its gRPC, None without; over TLS where HTTP is.
        authorities: whose certificates gRPC trusts, PEM; None for the system's.
    """

    def __init__(
        self, http: httpx.Client, model: str = "", grpc_url: str | None = None, authorities: bytes | None = None
    ) -> None:
        self.http = http
        self.model = model
        self.grpc_url = grpc_url
        self.authorities = authorities
        found = self.json_of(self.get("/v2"))
        listed_ = found.get("extensions") if isinstance(found, dict) else None
        self.extensions: list[str] = [str(name) for name in listed_] if isinstance(listed_, list) else []
        described = self.json_of(self.get(self.path)) if model else None
        self.metadata: dict[str, Any] = described if isinstance(described, dict) else {}
        self.stateful = bool(model) and "sequence" in self.extensions and self._keeps_state()

    def _keeps_state(self) -> bool:
        """Whether the model answers requests of sequences alone, as its configuration says."""
        config = self.json_of(self.get(f"{self.path}/config"))
        return isinstance(config, dict) and "sequence_batching" in config

    @property
    def credentials(self) -> tuple[tuple[str, str], ...]:
        """What a call over gRPC brings, where requests over HTTP bring a key."""
        name = "authorization"
        return ((name, self.http.headers[name]),) if name in self.http.headers else ()

    @property
    def path(self) -> str:
        """Of the model."""
        return f"/v2/models/{quote(self.model, safe='')}"

    @property
    def inputs(self) -> dict[str, Array]:
        """Values for every input; raises KeyError for a datatype that numpy has not."""
        return {
            entry["name"]: make_up(entry["name"], entry["datatype"], entry["shape"])
            for entry in self.metadata.get("inputs") or []
        }

    @property
    def output_names(self) -> list[str]:
        """As the metadata lists them."""
        return [entry["name"] for entry in self.metadata.get("outputs") or []]

    def get(self, path: str) -> httpx.Response:
        """GET."""
        return self._send("GET", path)

    def send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """Any other request."""
        return self._send(method, path, **parts)

    def document(self, *, nested: bool = False, **more: Any) -> dict[str, Any]:
        """A whole JSON request, with the keys of `more` beside its inputs."""
        inputs = [
            self.entry(name, array) | {"data": listed(array, nested=nested)} for name, array in self.inputs.items()
        ]
        return {"inputs": inputs, **more}

    def entry(self, name: str, array: Array) -> dict[str, Any]:
        """An input without its data."""
        datatypes = {entry["name"]: entry["datatype"] for entry in self.metadata["inputs"]}
        return {"name": name, "shape": list(array.shape), "datatype": datatypes[name]}

    def binary_request(self, **more: Any) -> tuple[bytes, int]:
        """A request whose inputs are all binary; the body, and the length of its JSON."""
        blobs = [pack(array) for array in self.inputs.values()]
        inputs = [
            self.entry(name, array) | {"parameters": {"binary_data_size": len(blob)}}
            for (name, array), blob in zip(self.inputs.items(), blobs, strict=True)
        ]
        head = json.dumps({"inputs": inputs, **more}).encode()
        return b"".join([head, *blobs]), len(head)

    def infer(self, document: Any, path: str = "") -> httpx.Response:
        """Sends a JSON request to the model, or to `path`."""
        return self.infer_bytes(json.dumps(document).encode(), path=path)

    def infer_bytes(self, body: bytes, header_length: int | None = None, path: str = "") -> httpx.Response:
        """Sends a body as it is."""
        headers = {"Content-Type": "application/json" if header_length is None else "application/octet-stream"}
        if header_length is not None:
            headers[LENGTH] = str(header_length)
        return self._send("POST", f"{path or self.path}/infer", content=body, headers=headers)

    def json_of(self, answer: httpx.Response) -> Any:
        """The JSON of an answer, None where it is none."""
        try:
            return answer.json()
        except ValueError:
            return None

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            try:
                return self.http.request(method, path, **parts)
            except (httpx.ReadError, httpx.RemoteProtocolError):
                # A server may close a kept connection, as some do after an error: once more, on a new one.
                return self.http.request(method, path, **parts)
        except httpx.ConnectError as error:
            if "certificate verify failed" in str(error):
                raise Unreachable(
                    f"the certificate of {self.http.base_url} is not trusted: name its authority with --ca"
                ) from None
            raise Unreachable(f"no server answers at {self.http.base_url}") from None


def outputs_of(answer: httpx.Response) -> dict[str, Array]:
    """The tensors of an inference answer, JSON and binary in any mix; raises ValueError where it is malformed."""
    length = answer.headers.get(LENGTH)
    at = len(answer.content) if length is None else int(length)
    outputs: dict[str, Array] = {}
    for output in json.loads(answer.content[:at])["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            outputs[output["name"]] = of_json(output["data"], output["datatype"], output["shape"])
            continue
        if at + size > len(answer.content):
            raise ValueError(f"output {output['name']} claims {size} bytes, more than the body has left")
        outputs[output["name"]] = unpack(answer.content[at : at + size], output["datatype"], output["shape"])
        at += size
    if at != len(answer.content):
        raise ValueError(f"{len(answer.content) - at} bytes are left over after the last output")
    return outputs


def open_http(url: str, headers: Mapping[str, str], authorities: bytes | None = None) -> httpx.Client:
    """A client for the server at `url`, which trusts these authorities (PEM) in place of the system's.

    Raises:
        ssl.SSLError: they are no certificates in PEM form.
        UnicodeDecodeError: they are no text.
    """
    trusted = True if authorities is None else ssl.create_default_context(cadata=authorities.decode("ascii"))
    return httpx.Client(
        base_url=url.rstrip("/"), timeout=TIMEOUT_S, headers=dict(headers), trust_env=False, verify=trusted
    )


def in_json(metadata: Mapping[str, Any]) -> bool:
    """Whether every tensor of the model has a JSON form."""
    entries: Sequence[Mapping[str, Any]] = [*(metadata.get("inputs") or []), *(metadata.get("outputs") or [])]
    return all(entry.get("datatype") in DTYPES and entry.get("datatype") != "FP16" for entry in entries)
