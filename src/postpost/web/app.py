"""Puts the routes, their error rendering and the outer transport together into one ASGI application."""

from litestar import Litestar, Router
from litestar.datastructures import State

from postpost.connections import routes as connection_routes
from postpost.http.transport import EXCEPTION_HANDLERS, Transport
from postpost.posts import routes as post_routes
from postpost.services import Services
from postpost.web import system


def create_app(services: Services) -> Transport:
    """Return the application; the caller opens and closes what `services` holds."""
    api = Router(system.API, route_handlers=[*post_routes.ROUTES, *connection_routes.ROUTES])
    app = Litestar(
        route_handlers=[api, *system.ROUTES],
        state=State({"services": services}),
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    return Transport(app, services.metrics.request_answered)
