"""Server and model metadata. Source: "Server Metadata" and "Model Metadata"."""

from __future__ import annotations

from typing import Any

from conformance.check import Check, NotApplicable, require
from conformance.checks.ask import OK, REST, must_refuse
from conformance.target import Target
from conformance.tensors import DATATYPES


def _server(target: Target) -> str:
    answer = target.get("/v2")
    found = target.json_of(answer)
    require(answer.status_code == OK and isinstance(found, dict), f"status {answer.status_code}: {answer.text[:120]}")
    for key in ("name", "version"):
        require(isinstance(found.get(key), str), f"{key!r} is {found.get(key)!r}, expected a string")
    return f"{found['name']} {found['version']}"


def _extensions(target: Target) -> str:
    found = (target.json_of(target.get("/v2")) or {}).get("extensions")
    right = isinstance(found, list) and all(isinstance(name, str) for name in found)
    require(right, f"'extensions' is {found!r}, expected a list of strings")
    return ", ".join(target.extensions) or "none"


def _model(target: Target) -> str:
    found = target.metadata
    require(bool(found), "no JSON object")
    for key in ("name", "platform"):
        require(isinstance(found.get(key), str), f"{key!r} is {found.get(key)!r}, expected a string")
    require(found["name"] == target.model, f"'name' is {found['name']!r}, expected {target.model!r}")
    return f"platform {found['platform']}"


def _tensors(target: Target) -> str:
    for side in ("inputs", "outputs"):
        entries = target.metadata.get(side)
        require(isinstance(entries, list), f"{side!r} is {entries!r}, expected a list")
        for entry in entries or []:
            _tensor(side, entry)
    return f"{len(target.metadata['inputs'])} inputs, {len(target.metadata['outputs'])} outputs"


def _tensor(side: str, entry: Any) -> None:
    require(isinstance(entry, dict), f"{side} has {entry!r}, expected an object")
    require(isinstance(entry.get("name"), str), f"{side} has an entry whose name is {entry.get('name')!r}")
    where = f"{side[:-1]} {entry['name']!r}"
    require(entry.get("datatype") in DATATYPES, f"{where} has datatype {entry.get('datatype')!r}")
    shape = entry.get("shape")
    right = isinstance(shape, list) and all(type(size) is int and size >= -1 for size in shape)
    require(right, f"{where} has shape {shape!r}, expected integers, -1 where variable")


def _versions(target: Target) -> str:
    versions = target.metadata.get("versions")
    if versions is None:
        raise NotApplicable("the model lists no versions")
    right = isinstance(versions, list) and all(isinstance(version, str) for version in versions)
    require(right, f"'versions' is {versions!r}, expected strings")
    for version in versions:
        status = target.get(f"{target.path}/versions/{version}").status_code
        require(status == OK, f"version {version!r} is listed and answers {status}")
    return ", ".join(versions)


def _unknown_model(target: Target) -> str:
    return must_refuse(target, target.get("/v2/models/no-such-model-here"))


SERVER = (
    Check(
        "metadata.server", f"{REST}, Server Metadata", "MUST", "GET v2 answers name and version as strings.", _server
    ),
    Check("metadata.extensions", f"{REST}, Server Metadata", "MUST", "`extensions` is a list of strings.", _extensions),
    Check(
        "metadata.unknown-model",
        f"{REST}, Model Metadata Response JSON Error Object",
        "MUST",
        "A failed metadata request has an error status and an error object.",
        _unknown_model,
    ),
)
MODEL = (
    Check("metadata.model", f"{REST}, Model Metadata", "MUST", "A model answers its name and platform.", _model),
    Check("metadata.tensors", f"{REST}, Model Metadata", "MUST", "Each tensor has name, datatype and shape.", _tensors),
    Check(
        "metadata.versions",
        f"{REST}, Model Metadata",
        "MUST",
        "Listed versions may be explicitly requested.",
        _versions,
    ),
)
