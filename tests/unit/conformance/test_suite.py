"""A correct server passes every check; each planted defect is found by the check that is meant for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from conformance.check import Profile, Result
from conformance.checks import ALL_CHECKS
from conformance.suite import count_checks, ready_models, run_suite
from conformance.target import Unreachable
from tests.unit.conformance.reference import ReferenceServer

DEFECTS = [
    ("never ready", "health.ready"),
    ("every model is ready", "health.unknown-model"),
    ("wrong key names", "metadata.server"),
    ("extensions are one text", "metadata.extensions"),
    ("no platform", "metadata.model"),
    ("versions cannot be asked", "metadata.versions"),
    ("versions cannot be asked", "infer.version"),
    ("id not echoed", "infer.id-echoed"),
    ("no model name", "infer.flat"),
    ("nested data are refused", "infer.nested"),
    ("output shape is flat", "infer.output-form"),
    ("selection is ignored", "infer.selection"),
    ("unknown parameters are refused", "infer.parameters"),
    ("JSON as text", "infer.content-type"),
    ("200 on error", "errors.bad-json"),
    ("200 on error", "metadata.unknown-model"),
    ("500 on bad input", "errors-4xx.missing-input"),
    ("500 on bad input", "errors-4xx.no-object"),
    ("500 on a huge number", "robustness.huge-number"),
    ("error under another key", "errors.unknown-model"),
    ("datatype is not checked", "errors.wrong-datatype"),
    ("unknown outputs are ignored", "errors.unknown-output"),
    ("every verb", "errors.wrong-method"),
    ("binary size wrong", "binary.out"),
    ("binary input is misread", "binary.in"),
    ("an output's wish is ignored", "binary.one-output"),
    ("never binary", "binary.declared-size"),
    ("raw requests are refused", "binary.raw"),
    ("lengths are not checked", "binary.short"),
    ("lengths are not checked", "binary.long"),
    ("statistics stand still", "extension.statistics"),
    ("index is an object", "extension.index"),
    ("config of another model", "extension.config"),
    ("classes without index", "extension.classification"),
]


@contextmanager
def client(defect: str = "") -> Iterator[httpx.Client]:
    transport = httpx.WSGITransport(ReferenceServer(defect))
    with httpx.Client(transport=transport, base_url="http://reference") as opened:
        yield opened


def run(defect: str = "", profile: Profile = "strict") -> dict[str, Result]:
    with client(defect) as http:
        return {result.check.id: result for result in run_suite(http, None, ["double"], profile)}


def test_a_correct_server_passes_everything_that_applies() -> None:
    found = run()
    assert [result for result in found.values() if result.status == "failed"] == []
    skipped = {name for name, result in found.items() if result.status == "skipped"}
    assert {name for name in skipped if not name.startswith("grpc.")} == {
        *("extension.shared-memory", "extension.trace", "extension.logging", "extension.schedule", "extension.sequence")
    }
    assert len(found) == count_checks(1) == len(ALL_CHECKS)


@pytest.mark.parametrize(("defect", "check"), DEFECTS)
def test_each_defect_is_found_by_its_check(defect: str, check: str) -> None:
    assert run(defect)[check].status == "failed"


def test_a_dialect_is_tolerated_by_the_relaxed_profile_alone() -> None:
    strict, relaxed = run("error under another key"), run("error under another key", "relaxed")
    assert strict["errors.bad-json"].status == "failed"
    assert relaxed["errors.bad-json"].status == "passed"
    assert "tolerated: MLServer" in relaxed["errors.bad-json"].seen
    assert run("id not echoed", "relaxed")["infer.id-echoed"].status == "failed"
    assert run("JSON as text", "relaxed")["infer.content-type"].status == "passed"


def test_every_check_has_an_id_of_its_own_and_a_source() -> None:
    assert len({check.id for check in ALL_CHECKS}) == len(ALL_CHECKS)
    for check in ALL_CHECKS:
        assert check.source and check.sentence.endswith(".")
        assert (check.level == "EXTENSION") is bool(check.extension)


def test_models_come_from_the_index() -> None:
    with client() as http:
        assert ready_models(http) == ["double"]
    with client("index is an object") as http:
        assert ready_models(http) == []


def test_no_server_is_said_at_once() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with (
        httpx.Client(transport=httpx.MockTransport(refuse), base_url="http://nowhere") as http,
        pytest.raises(Unreachable, match="no server answers"),
    ):
        next(run_suite(http, None, [], "strict"))
