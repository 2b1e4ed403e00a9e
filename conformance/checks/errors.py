"""Bad requests: each gets a 4xx and the error object. Source: "Inference Response JSON Error Object"."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from conformance.check import Check, NotApplicable, require
from conformance.checks.ask import REST, must_refuse, needs_json
from conformance.target import Target

Change = Callable[[dict[str, Any]], object]


def _changed(change: Change) -> Callable[[Target], str]:
    """A check that the plain request, changed so, is refused."""

    def run(target: Target) -> str:
        needs_json(target)
        document = target.document()
        if not document["inputs"]:
            raise NotApplicable("the model has no inputs")
        change(document)
        return must_refuse(target, target.infer(document))

    return run


def _raw(body: bytes) -> Callable[[Target], str]:
    return lambda target: must_refuse(target, target.infer_bytes(body))


def _at(path: str) -> Callable[[Target], str]:
    """A check that the plain request is refused at a path below /v2/models, `{}` standing for the model."""

    def run(target: Target) -> str:
        needs_json(target)
        return must_refuse(target, target.infer(target.document(), path.format(target.path)))

    return run


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
OTHERS: tuple[tuple[str, str, Callable[[Target], str]], ...] = (
    ("bad-json", "that is not JSON", _raw(b'{"inputs": [')),
    ("no-object", "that is no JSON object", _raw(json.dumps([1, 2]).encode())),
    ("unknown-model", "to a model that is not there", _at("/v2/models/no-such-model-here")),
    ("unknown-version", "to a version that is not there", _at("{}/versions/987654")),
)


def _check(name: str, what: str, run: Callable[[Target], str]) -> Check:
    source = f"{REST}, Inference Response JSON Error Object"
    return Check(f"errors.{name}", source, "MUST", f"A request {what} gets a 4xx and an error object.", run)


MODEL = (
    *(_check(name, what, _changed(change)) for name, what, change in CHANGES),
    *(_check(name, what, run) for name, what, run in OTHERS),
    Check("errors.wrong-method", f"{REST}, HTTP/REST", "SHOULD", "Another verb than POST gets a 4xx.", _wrong_method),
)
