"""Health, liveness and readiness. Source: "Health/Readiness/Liveness Probes" and the sections after it."""

from __future__ import annotations

from conformance.check import Check, NotApplicable, require
from conformance.checks.ask import OK, REST
from conformance.target import Target


def _says_yes(path: str, target: Target) -> str:
    status = target.get(path).status_code
    require(status == OK, f"status {status}, expected 200")
    return "status 200"


def _live(target: Target) -> str:
    return _says_yes("/v2/health/live", target)


def _ready(target: Target) -> str:
    return _says_yes("/v2/health/ready", target)


def _model_ready(target: Target) -> str:
    return _says_yes(f"{target.path}/ready", target)


def _version_ready(target: Target) -> str:
    versions = target.metadata.get("versions") or []
    if not versions:
        raise NotApplicable("the model lists no versions")
    return _says_yes(f"{target.path}/versions/{versions[0]}/ready", target)


def _unknown_not_ready(target: Target) -> str:
    status = target.get("/v2/models/no-such-model-here/ready").status_code
    require(status >= 400, f"status {status}, expected an error")
    require(status < 500 or status == 503, f"status {status}, expected 4xx or 503")
    return f"status {status}"


SERVER = (
    Check("health.live", f"{REST}, Server Live", "MUST", "A live server answers GET v2/health/live with 200.", _live),
    Check(
        "health.ready", f"{REST}, Server Ready", "MUST", "A ready server answers GET v2/health/ready with 200.", _ready
    ),
    Check(
        "health.unknown-model",
        f"{REST}, Model Ready",
        "MUST",
        "A model that is not there is not ready.",
        _unknown_not_ready,
    ),
)
MODEL = (
    Check(
        "health.model-ready", f"{REST}, Model Ready", "MUST", "A ready model answers .../ready with 200.", _model_ready
    ),
    Check(
        "health.version-ready", f"{REST}, Model Ready", "MUST", "So does each version that it lists.", _version_ready
    ),
)
