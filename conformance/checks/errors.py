"""Bad requests: each must get an error status and the error object, and should get a 4xx.

Source: "Inference Response JSON Error Object"; of the status it says "typically 400".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from conformance.check import Check, NotApplicable, require
from conformance.checks.ask import REST, blames_client, must_refuse, needs_json
from conformance.target import Target

Change = Callable[[dict[str, Any]], object]
Judge = Callable[[Target, httpx.Response], str]
Make = Callable[[Target], httpx.Response]


def _changed(change: Change) -> Make:
    """Sends the plain request, changed so."""

    def send(target: Target) -> httpx.Response:
        needs_json(target)
        document = target.document()
        if not document["inputs"]:
            raise NotApplicable("the model has no inputs")
        change(document)
        return target.infer(document)

    return send


def _raw(body: bytes) -> Make:
    return lambda target: target.infer_bytes(body)


def _at(path: str) -> Make:
    """Sends the plain request to a path, `{}` standing for the model's."""

    def send(target: Target) -> httpx.Response:
        needs_json(target)
        return target.infer(target.document(), path.format(target.path))

    return send


def _wrong_method(target: Target) -> str:
    status = target.send("DELETE", f"{target.path}/infer").status_code
    require(400 <= status < 500, f"status {status}, expected 4xx")
    return f"status {status}"


def _wrong_datatype(document: dict[str, Any]) -> None:
    first = document["inputs"][0]
    other = "BYTES" if first["datatype"] != "BYTES" else "INT64"
    first["datatype"] = other
    first["data"] = ["x" if other == "BYTES" else 0] * len(first["data"])


def _text_for_number(document: dict[str, Any]) -> None:
    first = document["inputs"][0]
    first["data"] = [{"not": "a value"}] * max(1, len(first["data"]))


def _rank(document: dict[str, Any]) -> None:
    document["inputs"][0]["shape"] = [*document["inputs"][0]["shape"], 1, 1]


CHANGES: tuple[tuple[str, str, Change], ...] = (
    ("no-inputs", "without `inputs`", lambda document: document.pop("inputs")),
    ("missing-input", "without a required input", lambda document: document["inputs"].pop()),
    (
        "unknown-input",
        "with an input that the model does not have",
        lambda document: document["inputs"].append({**document["inputs"][0], "name": "no-such-input"}),
    ),
    ("wrong-datatype", "whose input has another datatype", _wrong_datatype),
    ("wrong-element", "whose data are no values of the datatype", _text_for_number),
    ("wrong-rank", "whose shape has more dimensions", _rank),
    ("few-elements", "with fewer elements than its shape", lambda document: document["inputs"][0]["data"].pop()),
    (
        "unknown-output",
        "for an output that the model does not have",
        lambda document: document.update(outputs=[{"name": "no-such-output"}]),
    ),
    ("no-datatype", "whose input has no datatype", lambda document: document["inputs"][0].pop("datatype")),
    ("no-shape", "whose input has no shape", lambda document: document["inputs"][0].pop("shape")),
)
OTHERS: tuple[tuple[str, str, Make], ...] = (
    ("bad-json", "that is not JSON", _raw(b'{"inputs": [')),
    ("no-object", "that is no JSON object", _raw(json.dumps([1, 2]).encode())),
    ("unknown-model", "to a model that is not there", _at("/v2/models/no-such-model-here")),
    ("unknown-version", "to a version that is not there", _at("{}/versions/987654")),
)


REQUESTS: tuple[tuple[str, str, Make], ...] = (
    *((name, what, _changed(change)) for name, what, change in CHANGES),
    *OTHERS,
)
SOURCE = f"{REST}, Inference Response JSON Error Object"


def _judged(send: Make, judge: Judge) -> Callable[[Target], str]:
    return lambda target: judge(target, send(target))


MODEL = (
    *(
        Check(f"errors.{name}", SOURCE, "MUST", f"A request {what} gets an error object.", _judged(send, must_refuse))
        for name, what, send in REQUESTS
    ),
    *(
        Check(f"errors-4xx.{name}", SOURCE, "SHOULD", f"A request {what} gets a 4xx.", _judged(send, blames_client))
        for name, what, send in REQUESTS
    ),
    Check("errors.wrong-method", f"{REST}, HTTP/REST", "SHOULD", "Another verb than POST gets a 4xx.", _wrong_method),
)
