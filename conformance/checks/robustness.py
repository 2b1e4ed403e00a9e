"""Hostile bodies: never a 5xx, and the server answers as before. The protocol's error sections say "typically 400"."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from conformance.check import Check, require
from conformance.checks.ask import REST, blames_client, must_answer, needs_json, plain_answer
from conformance.target import Target

DEEP = 100_000


def _first(target: Target, **changes: Any) -> bytes:
    needs_json(target)
    document = target.document()
    if document["inputs"]:
        document["inputs"][0].update(changes)
    return json.dumps(document).encode()


def _never_5xx(make: Callable[[Target], bytes]) -> Callable[[Target], str]:
    """A check that the body is answered, whatever the answer, with less than a 5xx, and that the server lives on."""

    def run(target: Target) -> str:
        expected = plain_answer(target)
        status = target.infer_bytes(make(target)).status_code
        require(status < 500, f"status {status}, expected 4xx")
        must_answer(target, target.infer(target.document()), expected)
        return f"status {status}, and the server answers on"

    return run


def _negative_shape(target: Target) -> str:
    return blames_client(target, target.infer_bytes(_first(target, shape=[-1, -1])))


def _huge_shape(target: Target) -> str:
    return blames_client(target, target.infer_bytes(_first(target, shape=[2**40, 2**40])))


BODIES: tuple[tuple[str, str, Callable[[Target], bytes]], ...] = (
    ("nan", "NaN as a number", lambda target: _first(target, data=[float("nan")])),
    ("huge-number", "a number beyond every datatype", lambda target: _first(target, data=[10**400])),
    ("deep-nesting", "lists nested a hundred thousand deep", lambda _: b"[" * DEEP + b"]" * DEEP),
    ("empty-body", "no body", lambda _: b""),
    ("not-utf8", "bytes that are no text", lambda _: b'{"inputs": "\xff\xfe"}'),
    ("long-id", "an id of a megabyte", lambda target: json.dumps(target.document(id="x" * 1_000_000)).encode()),
)


def _check(name: str, sentence: str, run: Callable[[Target], str]) -> Check:
    return Check(f"robustness.{name}", f"{REST}, Inference Response JSON Error Object", "SHOULD", sentence, run)


MODEL = (
    *(_check(name, f"A body with {what} causes no 5xx.", _never_5xx(make)) for name, what, make in BODIES),
    _check("negative-shape", "A shape with -1 gets a 4xx.", _negative_shape),
    _check("huge-shape", "A shape of 2^80 elements gets a 4xx.", _huge_shape),
)
