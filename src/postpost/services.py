"""The use cases of one process, put together once and handed to the routes."""

from dataclasses import dataclass
from typing import Any

from litestar import Request

from postpost.accounts.service import Accounts, Caller, Credentials
from postpost.config import Settings
from postpost.connections.service import Outside
from postpost.database.pool import Database
from postpost.http.transport import early_stages
from postpost.metrics import Metrics
from postpost.posts.actor import Actor
from postpost.posts.service import Posts


@dataclass(frozen=True, slots=True)
class Services:
    """What routes may call."""

    settings: Settings
    database: Database
    accounts: Accounts
    posts: Posts
    outside: Outside
    metrics: Metrics


def services_of(request: Request[Any, Any, Any]) -> Services:
    """Return the services of the application that serves this request."""
    services: Services = request.app.state.services
    return services


async def identify(request: Request[Any, Any, Any]) -> Caller:
    """Say who makes the request: stages 1 to 4 of errors.md section 2. Raises ApiError A1 to A10 and T7."""
    with early_stages(request):
        headers = request.headers
        given = Credentials(
            headers.get("x-api-key"), headers.get("x-postpost-user-id"), headers.get("x-postpost-client")
        )
        return await services_of(request).accounts.authenticate(given)


def actor_of(caller: Caller) -> Actor:
    """Return for whom a caller's use case runs."""
    return Actor(caller.account_id, caller.billing_id, caller.plan)
