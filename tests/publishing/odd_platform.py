"""A Mastodon instance of the test's own, for answers that the sandbox does not give."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from postpost.connections import service as connections

POSTS = "/api/v1/statuses"


@dataclass
class OddPlatform:
    """Answers `status` and `body` to every new post; `break_connection` hangs up instead. `listing` is its timeline."""

    status: int = 200
    body: object = field(default_factory=lambda: {"id": "1"})
    listing_status: int = 200
    listing: list[object] = field(default_factory=list)
    break_connection: bool = False
    token_status: int = 200
    token_body: object = field(default_factory=lambda: {"access_token": "b-token", "expires_in": 7200})
    url: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def attempts(self) -> int:
        """How often somebody tried to post."""
        return self.calls.count(("POST", POSTS))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        if request.path.endswith("verify_credentials"):
            return web.json_response({"id": "7", "username": "odd", "acct": "odd"})
        if request.path.startswith("/api/v1/accounts/"):
            return web.json_response(self.listing, status=self.listing_status)
        if request.path == "/oauth/token":
            return web.json_response(self.token_body, status=self.token_status)
        if request.path != POSTS:
            return web.json_response({"error": "Record not found"}, status=404)
        if self.break_connection:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(self.body, status=self.status)


@asynccontextmanager
async def open_odd_platform(system, *, token_expires_at=None, **options):
    """Serve an odd platform and connect `mastodon-7` to it."""
    odd = OddPlatform(**options)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", odd.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        odd.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        new = connections.NewConnection(
            system.account_id,
            "mastodon",
            sandbox=False,
            credentials={"access_token": "a-token", "refresh_token": "r-token"},
            external_id="7",
            base_url=odd.url,
            token_expires_at=token_expires_at,
        )
        await connections.connect(system.services.database, system.services.outside, new)
        odd.calls.clear()
        yield odd
    finally:
        await runner.cleanup()
