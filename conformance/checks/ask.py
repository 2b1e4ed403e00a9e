"""What many checks begin with: a plain answer to compare with, and a refusal held against the protocol's form."""

from __future__ import annotations

import httpx

from conformance.check import NotApplicable, require
from conformance.target import Target, in_json, outputs_of
from conformance.tensors import Array, agree

REST = "Open Inference Protocol v2, REST"
OK = 200


def plain_answer(target: Target) -> dict[str, Array]:
    """The answer to the plain JSON request; raises NotApplicable where there is none to compare with."""
    needs_json(target)
    answer = target.infer(target.document())
    if answer.status_code != OK:
        raise NotApplicable(f"the model answers its made-up inputs with {answer.status_code}")
    return outputs_of(answer)


def needs_json(target: Target) -> None:
    """Raises NotApplicable for a model that cannot be asked in JSON."""
    if not target.metadata.get("inputs") and "outputs" not in target.metadata:
        raise NotApplicable("the model has no metadata to make inputs from")
    if not in_json(target.metadata):
        raise NotApplicable("a tensor of the model has a datatype without a JSON form")


def must_answer(target: Target, answer: httpx.Response, expected: dict[str, Array]) -> str:
    """Requires a success with the expected outputs."""
    require(answer.status_code == OK, f"status {answer.status_code}: {answer.text[:200]}")
    found = outputs_of(answer)
    require(list(found) == list(expected), f"outputs {list(found)}, expected {list(expected)}")
    bad = [name for name in found if not agree(found[name], expected[name])]
    require(not bad, f"outputs {bad} differ from those of the plain JSON request")
    return f"{len(found)} outputs agree"


def must_refuse(target: Target, answer: httpx.Response) -> str:
    """Requires an error status and the error object; the protocol says of the status only "typically 400"."""
    status = answer.status_code
    require(400 <= status < 600, f"status {status}, expected an error")
    found = target.json_of(answer)
    said = found.get("error") if isinstance(found, dict) else None
    kserve = "MLServer and KServe answer FastAPI's validation body" if status == 422 else ""
    holds = isinstance(said, str) and bool(said)
    require(holds, f'status {status} with {answer.text[:120]!r}, expected {{"error": text}}', kserve)
    return f"status {status}: {str(said)[:120]}"


def blames_client(_target: Target, answer: httpx.Response) -> str:
    """Requires a 4xx."""
    status = answer.status_code
    require(400 <= status < 500, f"status {status}, expected 4xx: {answer.text[:120]}")
    return f"status {status}"
