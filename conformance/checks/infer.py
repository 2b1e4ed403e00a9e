"""Inference in JSON. Source: "Inference", "Tensor Data"."""

from __future__ import annotations

from math import prod
from typing import Any

from conformance.check import Check, NotApplicable, require
from conformance.checks.ask import OK, REST, must_answer, needs_json, plain_answer
from conformance.target import Target


def _body(target: Target, **more: Any) -> dict[str, Any]:
    """The answer to the plain request as a JSON object; a failure where there is none."""
    needs_json(target)
    answer = target.infer(target.document(**more))
    require(answer.status_code == OK, f"status {answer.status_code}: {answer.text[:200]}")
    found = target.json_of(answer)
    require(isinstance(found, dict) and isinstance(found.get("outputs"), list), f"{answer.text[:120]!r} has no outputs")
    return dict(found)


def _flat(target: Target) -> str:
    found = _body(target)
    require(found.get("model_name") == target.model, f"'model_name' is {found.get('model_name')!r}")
    return f"{len(found['outputs'])} outputs"


def _nested(target: Target) -> str:
    return must_answer(target, target.infer(target.document(nested=True)), plain_answer(target))


def _all_outputs(target: Target) -> str:
    names = [output.get("name") for output in _body(target)["outputs"]]
    require(sorted(names) == sorted(target.output_names), f"outputs {names}, the metadata lists {target.output_names}")
    return ", ".join(names)


def _output_form(target: Target) -> str:
    specs = {entry["name"]: entry for entry in target.metadata["outputs"]}
    for output in _body(target)["outputs"]:
        require(output.get("name") in specs, f"output {output.get('name')!r} is not in the metadata")
        spec, shape = specs[output["name"]], output.get("shape")
        require(output.get("datatype") == spec["datatype"], f"datatype {output.get('datatype')!r} of {spec['name']!r}")
        require(isinstance(shape, list), f"shape {shape!r} of {spec['name']!r}")
        fits = len(shape) == len(spec["shape"]) and all(
            want in (-1, got) for want, got in zip(spec["shape"], shape, strict=True)
        )
        require(fits, f"output {spec['name']!r} has shape {shape}, the metadata says {spec['shape']}")
        require(_count(output.get("data")) == prod(shape), f"'data' of {spec['name']!r} has not {prod(shape)} elements")
    return "datatypes, shapes and sizes fit"


def _count(data: Any) -> int:
    return sum(map(_count, data)) if isinstance(data, list) else 1


def _id(target: Target) -> str:
    found = _body(target, id="conformance-42").get("id")
    require(found == "conformance-42", f"'id' is {found!r}, expected 'conformance-42'")
    return "echoed"


def _selection(target: Target) -> str:
    expected = plain_answer(target)
    name = target.output_names[-1]
    answer = target.infer(target.document(outputs=[{"name": name}]))
    return must_answer(target, answer, {name: expected[name]})


def _parameters(target: Target) -> str:
    expected = plain_answer(target)
    answer = target.infer(target.document(parameters={"conformance_number": 1, "conformance_text": "x"}))
    return must_answer(target, answer, expected)


def _version(target: Target) -> str:
    versions = target.metadata.get("versions") or []
    if not versions:
        raise NotApplicable("the model lists no versions")
    needs_json(target)
    answer = target.infer(target.document(), f"{target.path}/versions/{versions[-1]}")
    require(answer.status_code == OK, f"status {answer.status_code}: {answer.text[:200]}")
    found = (target.json_of(answer) or {}).get("model_version")
    require(found in (None, versions[-1]), f"'model_version' is {found!r}, expected {versions[-1]!r}")
    return f"version {versions[-1]}"


def _content_type(target: Target) -> str:
    needs_json(target)
    found = str(target.infer(target.document()).headers.get("content-type", ""))
    require(found.startswith("application/json"), f"Content-Type {found!r}")
    return found


def _check(name: str, section: str, level: Any, sentence: str, run: Any) -> Check:
    return Check(f"infer.{name}", f"{REST}, {section}", level, sentence, run)


MODEL = (
    _check("flat", "Inference Response JSON Object", "MUST", "A request is answered with 200 and outputs.", _flat),
    _check("nested", "Tensor Data", "MUST", "Data may be nested as well as flat, with the same answer.", _nested),
    _check(
        "all-outputs", "Inference Request JSON Object", "MUST", "Without `outputs`, all are returned.", _all_outputs
    ),
    _check(
        "output-form", "Response Output", "MUST", "Outputs have the datatype and shape of the metadata.", _output_form
    ),
    _check("id-echoed", "Inference Request JSON Object", "MUST", "A given id must be returned.", _id),
    _check("selection", "Request Output", "MUST", "Only the requested outputs are returned.", _selection),
    _check("parameters", "Parameters", "SHOULD", "Parameters that the server does not know do no harm.", _parameters),
    _check("version", "Inference", "MUST", "A listed version may be asked by its path, and says so.", _version),
    _check(
        "content-type", "Inference Request Examples", "SHOULD", "JSON is answered as application/json.", _content_type
    ),
)
