"""Requests that no server of the protocol should answer well: one table for every server, over HTTP."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx
import orjson

ROW = [0.0] * 64
INFER = "/v2/models/digits/infer"
REGION = {"shared_memory_region": "none", "shared_memory_byte_size": 256}


class Bad(NamedTuple):
    """One request, named by what is wrong with it."""

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - read only


def tensor(**changed: Any) -> dict[str, Any]:
    """A good input but for what is `changed`; None leaves a key out."""
    values = {"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": ROW} | changed
    return {key: value for key, value in values.items() if value is not None}


def infer(name: str, *inputs: dict[str, Any], path: str = INFER, **more: Any) -> Bad:
    """An inference request."""
    return Bad(name, "POST", path, orjson.dumps({"inputs": list(inputs), **more}))


def binary(name: str, size: Any, blob: bytes, header: str | None = None) -> Bad:
    """A request with one binary tensor; `header` is the length of its JSON as told, None for the right one."""
    head = orjson.dumps({"inputs": [tensor(data=None, parameters={"binary_data_size": size})]})
    length = str(len(head)) if header is None else header
    return Bad(name, "POST", INFER, head + blob, {"Inference-Header-Content-Length": length})


BAD: tuple[Bad, ...] = (
    Bad("metadata of an unknown model", "GET", "/v2/models/none"),
    Bad("metadata of an unknown version", "GET", "/v2/models/digits/versions/9"),
    Bad("configuration of an unknown model", "GET", "/v2/models/none/config"),
    Bad("statistics of an unknown model", "GET", "/v2/models/none/stats"),
    Bad("readiness of an unknown model", "GET", "/v2/models/none/ready"),
    Bad("readiness of an unknown version", "GET", "/v2/models/digits/versions/9/ready"),
    infer("inference of an unknown model", tensor(), path="/v2/models/none/infer"),
    infer("inference of an unknown version", tensor(), path="/v2/models/digits/versions/9/infer"),
    Bad("an unknown path", "GET", "/v2/nothing"),
    Bad("GET where POST is meant", "GET", INFER),
    Bad("POST where GET is meant", "POST", "/v2/models/digits"),
    Bad("an empty body", "POST", INFER),
    Bad("a body that is no JSON", "POST", INFER, b"{"),
    Bad("a body that is a list", "POST", INFER, b"[]"),
    Bad("no inputs", "POST", INFER, b"{}"),
    infer("an empty list of inputs"),
    infer("an unknown input", tensor(name="picture")),
    infer("an input too many", tensor(), tensor(name="more")),
    infer("an input twice", tensor(), tensor()),
    infer("no name", tensor(name=None)),
    infer("no shape", tensor(shape=None)),
    infer("no datatype", tensor(datatype=None)),
    infer("no data", tensor(data=None)),
    infer("an unknown datatype", tensor(datatype="FP99")),
    infer("another datatype", tensor(datatype="INT32", data=[0] * 64)),
    infer("another shape", tensor(shape=[1, 1, 8, 7], data=ROW[:56])),
    infer("another rank", tensor(shape=[64])),
    infer("a negative size", tensor(shape=[-1, 1, 8, 8])),
    infer("a size that is text", tensor(shape=["1", 1, 8, 8])),
    infer("no rows", tensor(shape=[0, 1, 8, 8], data=[])),
    infer("too few data", tensor(data=ROW[1:])),
    infer("too many data", tensor(data=[*ROW, 0.0])),
    infer("text among numbers", tensor(data=["a", *ROW[1:]])),
    infer("null among numbers", tensor(data=[None, *ROW[1:]])),
    infer("an unknown output", tensor(), outputs=[{"name": "none"}]),
    infer("outputs that are no list", tensor(), outputs={"name": "logits"}),
    infer("an output twice", tensor(), outputs=[{"name": "logits"}, {"name": "logits"}]),
    infer("an id that is a number", tensor(), id=7),
    infer("parameters that are a list", tensor(), parameters=[]),
    infer("a reserved parameter", tensor(), parameters={"triton_x": 1}),
    infer("more rows than a batch", tensor(shape=[33, 1, 8, 8], data=ROW * 33)),
    infer("a timeout that is text", tensor(), parameters={"timeout": "soon"}),
    infer("a priority below 0", tensor(), parameters={"priority": -1}),
    infer("a sequence of a model without state", tensor(), parameters={"sequence_id": 1, "sequence_start": True}),
    infer("an unknown shared memory region", tensor(data=None, parameters=REGION)),
    binary("too few bytes", 256, b"\0" * 255),
    binary("too many bytes", 256, b"\0" * 257),
    binary("a size that is not the shape's", 252, b"\0" * 252),
    binary("a negative binary size", -1, b""),
    binary("a header longer than the body", 256, b"\0" * 256, header="999999"),
    binary("a header that is no number", 256, b"\0" * 256, header="many"),
    binary("a header below 0", 256, b"\0" * 256, header="-1"),
    Bad("load of an unknown model", "POST", "/v2/repository/models/none/load", b"{}"),
    Bad("unload of an unknown model", "POST", "/v2/repository/models/none/unload", b"{}"),
    Bad("statistics of an unknown version", "GET", "/v2/models/digits/versions/9/stats"),
)  # fmt: skip


def status_of(url: str, bad: Bad) -> int:
    """The status that the server at `url` answers with; 0 where it answers nothing."""
    headers = {"Content-Type": "application/json", **bad.headers}
    try:
        return httpx.request(bad.method, url + bad.path, content=bad.body, headers=headers, timeout=30).status_code
    except httpx.TransportError:
        return 0
