from __future__ import annotations

import inspect

import grpc
import orjson
import pytest

from service.core import errors
from service.gateway.access import Forbidden, OverQuota, Unauthenticated
from service.gateway.problems import GRPC_CODE, STATUS, call_problem_of, problem, problem_of, was_meant

TABLE = {
    errors.BadInput: 400,
    errors.TooLarge: 413,
    errors.TooSlow: 408,
    errors.NotRepresentable: 400,
    errors.NotFinite: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Refused: 409,
    errors.BadModel: 400,
    errors.ProviderMissing: 400,
    errors.RunFailed: 500,
    errors.Abandoned: 499,
    errors.Unavailable: 503,
    errors.Rejected: 503,
    errors.Expired: 503,
    errors.NotReady: 503,
    errors.Draining: 503,
    errors.DoesNotFit: 503,
    errors.Stuck: 503,
    Forbidden: 403,
    Unauthenticated: 401,
    OverQuota: 429,
}


@pytest.mark.parametrize(("kind", "status"), TABLE.items())
def test_each_error_has_its_status_and_says_its_sentence(kind: type[errors.RetortError], status: int) -> None:
    answer = problem_of(kind("what is wrong"), "id-1")
    assert answer.status == status
    assert orjson.loads(answer.body) == {"error": "what is wrong"}
    assert was_meant(kind("x"))


def test_no_error_of_the_tree_is_left_out() -> None:
    tree = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RetortError)}
    assert tree - {errors.RetortError} <= TABLE.keys()
    assert TABLE.keys() >= STATUS.keys()


@pytest.mark.parametrize(("given", "told"), [(0, "1"), (1, "1"), (30, "30")])
def test_what_may_work_later_says_when(given: int, told: str) -> None:
    assert problem_of(errors.Rejected("full", given), "").headers == {"Retry-After": told}
    assert problem_of(errors.BadInput("x"), "").headers == {}


def test_who_wants_memory_that_the_system_refuses_may_come_again() -> None:
    answer, call = problem_of(MemoryError(), ""), call_problem_of(MemoryError(), "")
    sentence = "the system gives the server no more memory now; try again later"
    assert (answer.status, answer.headers) == (503, {"Retry-After": "1"})
    assert orjson.loads(answer.body) == {"error": sentence}
    assert (call.code, call.sentence, call.retry_after_s) == ("UNAVAILABLE", sentence, 1)
    assert was_meant(MemoryError())


def test_who_sends_no_key_is_told_how_one_is_sent() -> None:
    """RFC 9110, 11.6.1: a 401 names at least one scheme."""
    assert problem_of(Unauthenticated("x"), "").headers == {"WWW-Authenticate": "Bearer"}
    assert problem_of(OverQuota("x", 7), "").headers == {"Retry-After": "7"}
    assert problem_of(Forbidden("x"), "").headers == {}


def test_a_refusal_shows_its_verdict_and_cannot_hide_the_error() -> None:
    refused = errors.Refused("the gate says no", {"verdict": "fail", "reasons": ["r"], "error": "overwritten"})
    assert orjson.loads(problem_of(refused, "").body) == {
        "error": "the gate says no",
        "verdict": "fail",
        "reasons": ["r"],
    }


@pytest.mark.parametrize(
    "error", [ValueError("/etc/passwd"), KeyError("x"), errors.RetortError("root"), OSError(2, "no")]
)
def test_what_nobody_meant_says_only_the_request_s_id(error: Exception) -> None:
    answer = problem_of(error, "id-7")
    assert answer.status == 500
    assert orjson.loads(answer.body) == {"error": "internal error, request id id-7"}


def test_only_errors_of_the_tree_were_meant() -> None:
    assert not was_meant(ValueError())


@pytest.mark.parametrize("sentence", ["x" * 100_000, "\x00" * 100_000, "\U0001f600" * 100_000, "\n" * 100_000])
def test_the_body_stays_under_four_kibibytes(sentence: str) -> None:
    body = problem(400, sentence).body
    assert len(body) < 4096
    assert orjson.loads(body)["error"].endswith("…")


def test_a_sentence_is_one_line() -> None:
    assert orjson.loads(problem(400, "a\nb").body) == {"error": "a\\nb"}


def test_values_json_does_not_know_are_written_as_text() -> None:
    assert orjson.loads(problem(409, "x", more={"at": 1 + 2j}).body) == {"at": "(1+2j)", "error": "x"}


CODES = {
    errors.BadInput: "INVALID_ARGUMENT",
    errors.TooSlow: "DEADLINE_EXCEEDED",
    errors.TooLarge: "RESOURCE_EXHAUSTED",
    errors.NotRepresentable: "INVALID_ARGUMENT",
    errors.NotFinite: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.Conflict: "ABORTED",
    errors.Refused: "FAILED_PRECONDITION",
    errors.BadModel: "INVALID_ARGUMENT",
    errors.ProviderMissing: "INVALID_ARGUMENT",
    errors.RunFailed: "INTERNAL",
    errors.Abandoned: "CANCELLED",
    errors.Unavailable: "UNAVAILABLE",
    errors.Rejected: "UNAVAILABLE",
    errors.Expired: "DEADLINE_EXCEEDED",
    errors.NotReady: "UNAVAILABLE",
    errors.Draining: "UNAVAILABLE",
    errors.DoesNotFit: "UNAVAILABLE",
    errors.Stuck: "UNAVAILABLE",
    Forbidden: "PERMISSION_DENIED",
    Unauthenticated: "UNAUTHENTICATED",
    OverQuota: "RESOURCE_EXHAUSTED",
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_error_has_its_grpc_code(kind: type[errors.RetortError], code: str) -> None:
    told = call_problem_of(kind("what is wrong"), "id-1")
    assert (told.code, told.sentence) == (code, "what is wrong")
    assert grpc.StatusCode[told.code]
    assert (told.retry_after_s == 1) is issubclass(kind, errors.Unavailable | OverQuota)


def test_both_tables_name_every_error() -> None:
    assert CODES.keys() == TABLE.keys()
    assert CODES.keys() >= GRPC_CODE.keys()


def test_what_was_not_meant_ends_a_call_with_its_id_alone() -> None:
    told = call_problem_of(ValueError("secret"), "id-1")
    assert (told.code, told.sentence) == ("INTERNAL", "internal error, request id id-1")


def test_a_long_sentence_is_cut_on_grpc_too() -> None:
    assert len(call_problem_of(errors.BadInput("x" * 10_000), "").sentence) < 2100
