"""The gRPC checks: a correct server passes them all, and each planted defect is found by the check meant for it."""

from __future__ import annotations

import httpx
import pytest

from conformance.check import Result
from conformance.suite import run_suite
from tests.unit.conformance.reference import ReferenceServer
from tests.unit.conformance.reference_rpc import reference_rpc

DEFECTS = [
    ("not live", "grpc.live"),
    ("not ready", "grpc.ready"),
    ("another name", "grpc.server"),
    ("not serving", "grpc.health"),
    ("model not ready", "grpc.model-ready"),
    ("another shape", "grpc.metadata"),
    ("id not echoed", "grpc.infer"),
    ("other values", "grpc.infer"),
    ("other values", "grpc.typed"),
    ("typed contents are ignored", "grpc.typed"),
    ("id not echoed", "grpc.stream"),
    ("a stream ends at a bad request", "grpc.stream"),
    ("unknown models are internal", "grpc.unknown-model"),
    ("bad input is internal", "grpc.bad-request"),
]


def run(defect: str = "") -> dict[str, Result]:
    transport = httpx.WSGITransport(ReferenceServer())
    with reference_rpc(defect) as address, httpx.Client(transport=transport, base_url="http://reference") as http:
        found = {result.check.id: result for result in run_suite(http, address, ["double"], "strict")}
    return {name: result for name, result in found.items() if name.startswith("grpc.")}


@pytest.mark.parametrize("way", ["", "typed answers"])
def test_a_correct_server_passes_every_check(way: str) -> None:
    found = run(way)
    assert {name: result.seen for name, result in found.items() if result.status != "passed"} == {}
    assert {check for _, check in DEFECTS} == set(found)


@pytest.mark.parametrize(("defect", "check"), DEFECTS)
def test_each_defect_is_found_by_its_check(defect: str, check: str) -> None:
    assert run(defect)[check].status == "failed"


def test_a_call_that_fails_is_told_in_one_line() -> None:
    with reference_rpc("") as address:
        pass
    transport = httpx.WSGITransport(ReferenceServer())
    with httpx.Client(transport=transport, base_url="http://reference") as http:
        seen = {one.check.id: one.seen for one in run_suite(http, address, ["double"], "strict")}["grpc.live"]
    assert seen.startswith("the call ended with UNAVAILABLE: failed to connect") and "\n" not in seen
