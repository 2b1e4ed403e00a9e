"""Which checks run against which models, in order; each result is yielded as it is there, so a run may be cut short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import httpx

from conformance.check import Profile, Result, carry_out
from conformance.checks import MODEL_CHECKS, SERVER_CHECKS
from conformance.target import Target


def ready_models(http: httpx.Client) -> list[str]:
    """Names of the models that the repository index says are ready; none where the server has no index."""
    target = Target(http)
    found = target.json_of(target.send("POST", "/v2/repository/index", json={}))
    if not isinstance(found, list):
        return []
    ready = [entry["name"] for entry in found if isinstance(entry, dict) and entry.get("state", "READY") == "READY"]
    return sorted(set(ready))


def run_suite(
    http: httpx.Client,
    grpc_url: str | None,
    models: Sequence[str],
    profile: Profile,
    authorities: bytes | None = None,
) -> Iterator[Result]:
    """Every check of the server, then every check of each model; `authorities` as in `Target`.

    Raises:
        Unreachable: no server answers.
    """
    server = Target(http, "", grpc_url, authorities)
    for check in SERVER_CHECKS:
        yield carry_out(check, server, profile)
    for model in models:
        target = Target(http, model, grpc_url, authorities)
        for check in MODEL_CHECKS:
            yield carry_out(check, target, profile)


def count_checks(models: int) -> int:
    """How many results a run over so many models has."""
    return len(SERVER_CHECKS) + models * len(MODEL_CHECKS)
