"""The OpenAPI document, and a page that lists it without loading anything from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from service.gateway.http.schemas import SCHEMAS, SECURITY

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Retort {version}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; width: 100% }}
td {{ padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #ddd; vertical-align: top }}
code {{ font-size: .9em }}
</style></head><body>
<h1>Retort {version}</h1>
<p>{description}</p>
<p>Schemas and status codes: <a href="openapi.json">openapi.json</a>.</p>
<table>{rows}</table>
</body></html>
"""
_ROW = "<tr><td><code>{method}</code></td><td><code>{path}</code></td><td>{summary}</td><td>{codes}</td></tr>"
_DESCRIPTION = (
    "The Open Inference Protocol v2 with Triton's binary, statistics, configuration and repository extensions, "
    "TensorFlow Serving's simple JSON, and swaps between a model's versions."
)


def openapi_of(routes: Callable[[], list[BaseRoute]], version: str) -> Callable[[], dict[str, Any]]:
    """What FastAPI's `openapi` is to be: the document of `routes`, made once, with our schemas in it."""
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(get_openapi(title="Retort", version=version, description=_DESCRIPTION, routes=routes()))
            made["components"] = {"schemas": SCHEMAS, "securitySchemes": SECURITY}
        return made

    return document


class Docs:
    """Handler of /docs."""

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document

    async def page(self, _request: Request) -> Response:
        """Every route on one page."""
        document = self._document()
        rows = [
            _ROW.format(
                method=method.upper(),
                path=escape(path),
                summary=escape(operation["summary"]),
                codes=", ".join(sorted(operation["responses"])),
            )
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]
        info = document["info"]
        page = _PAGE.format(version=escape(info["version"]), description=escape(_DESCRIPTION), rows="\n".join(rows))
        return HTMLResponse(page)
