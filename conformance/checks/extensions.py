"""Triton's other extensions, each held against a server that lists it. Source: Triton's protocol documents."""

from __future__ import annotations

from typing import Any

from conformance.check import Check, NotApplicable, require
from conformance.checks.ask import OK, must_refuse, plain_answer
from conformance.target import Target, outputs_of

SEQUENCE = 4_242_424_242


def _object(target: Target, path: str) -> Any:
    answer = target.get(path)
    require(answer.status_code == OK, f"status {answer.status_code}: {answer.text[:120]}")
    return target.json_of(answer)


def _index(target: Target) -> str:
    answer = target.send("POST", "/v2/repository/index", json={})
    found = target.json_of(answer)
    require(answer.status_code == OK and isinstance(found, list), f"status {answer.status_code}: {answer.text[:120]}")
    bad = [entry for entry in found if not isinstance(entry, dict) or not isinstance(entry.get("name"), str)]
    require(not bad, f"an entry without a name: {bad[:1]}")
    return f"{len(found)} entries"


def _load_unknown(target: Target) -> str:
    return must_refuse(target, target.send("POST", "/v2/repository/models/no-such-model-here/load", json={}))


def _regions(target: Target) -> str:
    found = _object(target, "/v2/systemsharedmemory/status")
    require(isinstance(found, list), f"{str(found)[:120]}, expected a list")
    return f"{len(found)} regions"


def _setting(path: str) -> Any:
    def run(target: Target) -> str:
        found = _object(target, path)
        require(isinstance(found, dict) and bool(found), f"{str(found)[:120]}, expected settings")
        return f"{len(found)} settings"

    return run


def _successes(target: Target) -> int:
    found = _object(target, f"{target.path}/stats")["model_stats"]
    return sum(int(entry["inference_stats"]["success"]["count"]) for entry in found)


def _statistics(target: Target) -> str:
    before = _successes(target)
    plain_answer(target)
    after = _successes(target)
    require(after > before, f"`success` stays at {before} after a request")
    return f"success {before} -> {after}"


def _config(target: Target) -> str:
    found = _object(target, f"{target.path}/config")
    require(found.get("name") == target.model, f"'name' is {found.get('name')!r}")
    names = [entry["name"] for entry in found.get("input") or []]
    expected = [entry["name"] for entry in target.metadata["inputs"]]
    require(sorted(names) == sorted(expected), f"inputs {names}, the metadata lists {expected}")
    return f"max_batch_size {found.get('max_batch_size')}"


def _classification(target: Target) -> str:
    expected = plain_answer(target)
    name = next((name for name, array in expected.items() if array.dtype.kind in "fiu" and array.size > 1), None)
    if name is None:
        raise NotApplicable("no output has several numbers")
    wanted = [{"name": name, "parameters": {"classification": 1}}]
    answer = target.infer(target.document(outputs=wanted))
    require(answer.status_code == OK, f"status {answer.status_code}: {answer.text[:120]}")
    found = outputs_of(answer)[name]
    texts = [bytes(text).decode() for text in found.ravel()] if found.dtype == object else []
    require(bool(texts) and all(text.count(":") >= 1 for text in texts), f"{found.ravel()[:2]}, expected value:index")
    return texts[0]


def _schedule(target: Target) -> str:
    answer = target.infer(target.document(parameters={"priority": 1, "timeout": 20_000_000}))
    plain_answer(target)
    require(answer.status_code == OK, f"status {answer.status_code}: {answer.text[:120]}")
    return "answered"


def _sequence(target: Target) -> str:
    if not target.stateful:
        raise NotApplicable("the model is not stateful")
    # Without a sequence id a stateful model cannot know whose state is meant.
    refused = must_refuse(target, target.infer(target.document()))
    steps = [{"sequence_start": True}, {}, {"sequence_end": True}]
    for step in steps:
        answer = target.infer(target.document(parameters={"sequence_id": SEQUENCE, **step}))
        require(answer.status_code == OK, f"{step or 'a step'}: status {answer.status_code}: {answer.text[:120]}")
    ended = target.infer(target.document(parameters={"sequence_id": SEQUENCE}))
    must_refuse(target, ended)
    return f"{len(steps)} steps answered; without a sequence {refused}"


def _check(name: str, extension: str, sentence: str, run: Any) -> Check:
    source = f"Triton, {extension} extension"
    return Check(f"extension.{name}", source, "EXTENSION", sentence, run, extension)


SERVER = (
    _check("index", "model_repository", "POST v2/repository/index lists the models.", _index),
    _check("load-unknown", "model_repository", "Loading a model that is not there is an error.", _load_unknown),
    _check("shared-memory", "system_shared_memory", "GET v2/systemsharedmemory/status lists the regions.", _regions),
    _check("trace", "trace", "GET v2/trace/setting answers the settings.", _setting("/v2/trace/setting")),
    _check("logging", "logging", "GET v2/logging answers the settings.", _setting("/v2/logging")),
)
MODEL = (
    _check("statistics", "statistics", "A request counts as a success.", _statistics),
    _check("config", "model_configuration", "GET .../config names the model and its inputs.", _config),
    _check("classification", "classification", "`classification` answers value:index texts.", _classification),
    _check("schedule", "schedule_policy", "`priority` and `timeout` are taken.", _schedule),
    _check(
        "sequence",
        "sequence",
        "A stateful model answers the steps of a sequence, and no others.",
        _sequence,
    ),
)
