"""What grpc itself logs: only what is news."""

from __future__ import annotations

import logging

import pytest
from grpc._cython import cygrpc  # type: ignore[import-untyped]

from service.gateway.grpc.server import _is_news


@pytest.mark.parametrize(("error", "told"), [(cygrpc.ExecuteBatchError("x"), False), (ValueError("x"), True)])
def test_an_answer_to_a_client_that_has_gone_is_no_error(error: Exception, told: bool) -> None:
    record = logging.LogRecord("grpc", logging.ERROR, "", 0, "raised", None, (type(error), error, None))
    assert _is_news(record) is told


def test_lines_without_an_error_are_told() -> None:
    assert _is_news(logging.LogRecord("grpc", logging.WARNING, "", 0, "said", None, None))
