"""What handlers return, as Starlette responses: JSON, an inference answer, a problem."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from service.core.contract import ModelRef
from service.gateway.codec import HEADER_LENGTH, JSON, Encoded
from service.gateway.problems import Problem


def json_answer(content: Any, status: int = 200) -> Response:
    """`content` as JSON."""
    return Response(orjson.dumps(content), status, media_type=JSON)


def inference_answer(encoded: Encoded) -> Response:
    """An inference answer, with the length of its JSON in a header where binary data follows."""
    headers = None if encoded.header_length is None else {HEADER_LENGTH: str(encoded.header_length)}
    return Response(encoded.body, headers=headers, media_type=encoded.content_type)


def problem_answer(problem: Problem) -> Response:
    """An error."""
    return Response(problem.body, problem.status, headers=problem.headers, media_type=JSON)


def ref_of(request: Request) -> ModelRef:
    """The model, and the version if any, that the path names."""
    return ModelRef(request.path_params["model"], request.path_params.get("version"))
