"""Routes for operators and readers of the API: health, metrics, the OpenAPI document and its page."""

from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.types import ASGIApp

from postpost import __version__, errors
from postpost.connections import routes as connection_routes
from postpost.database.migrate import fetch_revision, head_revision
from postpost.errors import ApiError
from postpost.http.openapi import build, docs_page
from postpost.http.transport import json_response
from postpost.metrics import CONTENT_TYPE
from postpost.posts import routes as post_routes
from postpost.services import services_of

API = "/api/v1"

AnyRequest = Request[Any, Any, Any]

_document = build((*post_routes.DOCS, *connection_routes.DOCS), version=__version__, server=API)
_openapi_body = msgspec.json.encode(_document)
_docs_body = docs_page(_document)


@get("/health/live")
async def live() -> ASGIApp:
    """Say that the process answers."""
    return json_response({"status": "ok"})


@get("/health/ready")
async def ready(request: AnyRequest) -> ASGIApp:
    """Say whether requests can be served: the database answers and has the schema that this version needs."""
    async with services_of(request).database.connection() as connection:
        revision = await fetch_revision(connection)
    if revision != head_revision():
        return json_response({"status": "migrations missing", "found": revision, "needed": head_revision()}, 503)
    return json_response({"status": "ok"})


@get("/metrics")
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Return the metrics in Prometheus' text format."""
    services = services_of(request)
    if not services.settings.metrics:
        raise ApiError(errors.T1)
    return Response(services.metrics.render(), media_type=CONTENT_TYPE)


@get("/openapi.json")
async def openapi() -> Response[bytes]:
    """Return the OpenAPI 3.1 document."""
    return Response(_openapi_body, media_type="application/json; charset=utf-8")


@get("/docs", media_type=MediaType.HTML)
async def docs() -> str:
    """Show the API to read."""
    return _docs_body


ROUTES = (live, ready, metrics, openapi, docs)
