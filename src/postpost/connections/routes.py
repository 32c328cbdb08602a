"""HTTP in and out of connections."""

from typing import Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath
from litestar.types import ASGIApp

from postpost import errors
from postpost.connections import service
from postpost.connections.service import ConnectionCheck, ConnectionView
from postpost.http.openapi import Parameter, RouteDoc
from postpost.http.transport import json_response
from postpost.services import identify, services_of

AnyRequest = Request[Any, Any, Any]


class ConnectionList(msgspec.Struct, frozen=True):
    """The connected accounts, in the order of connecting."""

    success: Literal[True]
    connections: list[ConnectionView]


@get("/platform-connections", opt={"unexpected": errors.N1})
async def platform_connections(request: AnyRequest) -> ASGIApp:
    """List connected accounts and their health."""
    caller = await identify(request)
    connections = await service.list_connections(services_of(request).database, caller.account_id)
    return json_response(ConnectionList(True, connections))


@post("/test-connection/{platform_id:str}", status_code=200, opt={"unexpected": errors.X3})
async def test_connection(request: AnyRequest, platform_id: FromPath[str]) -> ASGIApp:
    """Ask a platform whether a connection still works."""
    caller = await identify(request)
    services = services_of(request)
    return json_response(
        await service.check_connection(services.database, services.outside, caller.account_id, platform_id)
    )


ROUTES = (platform_connections, test_connection)

_PLATFORM_ID = {"type": "string", "pattern": "^[^-]+-.+$"}

DOCS = (
    RouteDoc(
        "GET", "/platform-connections", "List connected accounts", ConnectionList, errors=["N1"], tag="Connections"
    ),
    RouteDoc(
        "POST",
        "/test-connection/{platformId}",
        "Test a connection",
        ConnectionCheck,
        errors=["X1", "X2", "X3"],
        description="Asks the platform, ten seconds at most. Good and bad news are both a 200; see `status`.",
        parameters=[Parameter("platformId", "path", "Compound id, percent-encoded.", _PLATFORM_ID, required=True)],
        tag="Connections",
    ),
)
