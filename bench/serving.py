"""Servers to be measured, each a process of its own: PostPost's API, and a bare ASGI handler doing the same inserts."""

import logging
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvicorn
import uvloop

from postpost import logs, runtime
from postpost.config import LogFormat, LogLevel, Settings
from postpost.ids import new_id

# The same rows as create-post for two platforms: one group, two posts, two log lines, two counters.
INSERT = """
    WITH g AS (
        INSERT INTO post_groups (id, account_id, content, settings, status, processing_status, scheduled_at, due_at,
                                 created_at, updated_at)
        VALUES ($1, $2, $3, '{}', 'scheduled', 'pending', $4, $4, now(), now())
    ), p AS (
        INSERT INTO platform_posts (id, group_id, account_id, position, platform, platform_id, status, charged_to,
                                    charged_period, updated_at)
        SELECT x.id, $1, $2, x.n, 'twitter', x.platform_id, 'scheduled', $2, date_trunc('month', now()), now()
        FROM unnest($5::text[], $6::text[]) WITH ORDINALITY AS x (id, platform_id, n)
    ), l AS (
        INSERT INTO post_logs (group_id, post_id, platform, event, metadata, created_at)
        SELECT $1, x.id, 'twitter', 'scheduled', '{"scheduledTime": "2030-01-01T00:00:00.000Z"}', now()
        FROM unnest($5::text[]) AS x (id)
    )
    INSERT INTO usage_counters (billing_account_id, period_start, platform_id, used)
    SELECT $2, date_trunc('month', now()), x, 1 FROM unnest($6::text[]) AS x
    ON CONFLICT (billing_account_id, period_start, platform_id) DO UPDATE SET used = usage_counters.used + 1
"""
GET = """
    SELECT g.content, p.id, p.platform, p.platform_id, p.status, p.posted_id, p.error, p.parts
    FROM post_groups g JOIN platform_posts p ON p.group_id = g.id
    WHERE g.id = $1 AND g.account_id = $2 ORDER BY p.position
"""
LIST = """
    WITH page AS (
        SELECT id, content, status, scheduled_at, created_at, updated_at FROM post_groups
        WHERE account_id = $1 ORDER BY created_at DESC, id DESC LIMIT 20
    )
    SELECT total.n, page.*, posts.* FROM (SELECT count(*) AS n FROM post_groups WHERE account_id = $1) AS total
    LEFT JOIN page ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(platform_id) AS platform_ids, array_agg(platform) AS platforms, array_agg(status) AS statuses
        FROM platform_posts WHERE group_id = page.id
    ) AS posts ON true
"""


class Bare:
    """An ASGI handler that does nothing but the statement: no key, no checks, no limits, no errors."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        if scope["method"] == "POST":
            body = msgspec.json.decode((await receive())["body"])
            group = new_id()
            due = _parse(body["scheduledTime"])
            await self._pool.execute(
                INSERT, group, body["account"], body["content"], due, [new_id(), new_id()], body["platforms"]
            )
            answer: Any = {"success": True, "postGroupId": group}
        elif path.startswith("/get/"):
            _, _, account, group = path.split("/")
            answer = [dict(row) for row in await self._pool.fetch(GET, group, account)]
        else:
            answer = [dict(row) for row in await self._pool.fetch(LIST, path.split("/")[2])]
        encoded = msgspec.json.encode(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": encoded})


def _parse(text: str) -> Any:
    return msgspec.convert(text, type=datetime)


async def serve_bare(dsn: str) -> None:
    """Serve the bare handler; prints its port when it listens."""
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=16)
    parts = runtime.Parts([], [])
    server = runtime.http_server(Bare(pool), shutdown_seconds=1)
    await _announce(parts, server)


async def serve_postpost(dsn: str, home: str, plans: str) -> None:
    """Serve PostPost's API with its logs on, thrown away."""
    logs.configure(LogFormat.JSON, LogLevel.INFO, Path(os.devnull).open("w"))  # noqa: SIM115 -- open as long as the process
    settings = Settings(home=Path(home), database_url=dsn, plans_file=Path(plans))
    async with runtime.open_process(settings, migrated=False) as services:
        parts = runtime.Parts([], [])
        port = await runtime.start_api(parts, services, runtime.listen("127.0.0.1", 0))
        print(port, flush=True)
        await runtime.run_until_signal(parts, shutdown_seconds=1)


async def _announce(parts: runtime.Parts, server: uvicorn.Server) -> None:
    listening = runtime.listen("127.0.0.1", 0)
    print(listening.getsockname()[1], flush=True)

    def stop() -> None:
        server.should_exit = True

    runtime.start(parts, "bare", server.serve([listening]), stop)
    await runtime.run_until_signal(parts, shutdown_seconds=1)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    work = serve_bare(sys.argv[2]) if sys.argv[1] == "bare" else serve_postpost(*sys.argv[2:5])
    uvloop.run(work)
