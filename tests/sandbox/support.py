"""Calls to a running sandbox, as the tests make them."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import aiohttp

APP_PASSWORD = "abcd-efgh-2345-wxyz"
LINKEDIN_HEADERS = {"LinkedIn-Version": "202609", "X-Restli-Protocol-Version": "2.0.0"}
NSID = "app.bsky.feed.post"

_numbers = itertools.count(1)


class MovableClock:
    """The time, which tests may move forward."""

    def __init__(self):
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, step: timedelta) -> None:
        self._ahead += step


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def data(self):
        return json.loads(self.text)

    @property
    def error(self):
        return self.data["errorDetails"]["inputErrors"][0]


@dataclass
class Client:
    """A client of a running sandbox. Every method that publishes does so as the given account."""

    session: aiohttp.ClientSession
    base: str
    clock: MovableClock

    async def call(self, method, path, *, token=None, headers=None, **body) -> Answer:
        headers = dict(headers or {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, self.base + path, headers=headers, allow_redirects=False, **body
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def fault(self, platform, account, kind, **more) -> Answer:
        path = f"/_sandbox/{platform}/{quote(account, safe='')}/faults"
        return await self.call("POST", path, json={"kind": kind, **more})

    async def faults(self, platform, account):
        return (await self.call("GET", f"/_sandbox/{platform}/{quote(account, safe='')}/faults")).data

    async def posts(self, platform, account):
        return (await self.call("GET", f"/_sandbox/{platform}/{quote(account, safe='')}/posts")).data

    async def texts(self, platform, account):
        return [post["text"] for post in await self.posts(platform, account)]

    async def tweet(self, account, text="hello", *, token=None, **more) -> Answer:
        body = {"text": text, **more}
        return await self.call("POST", "/twitter/2/tweets", token=token or f"sandbox-{account}", json=body)

    async def share(self, account, text="hello", *, token=None, headers=LINKEDIN_HEADERS, **more) -> Answer:
        body = share_body(account, text) | more
        token = token or f"sandbox-{account}"
        return await self.call("POST", "/linkedin/rest/posts", token=token, headers=headers, json=body)

    async def toot(self, account, text="hello", *, token=None, key=None, **more) -> Answer:
        headers = {"Idempotency-Key": key} if key else {}
        body = {"status": text, **more}
        token = token or f"sandbox-{account}"
        return await self.call("POST", "/mastodon/api/v1/statuses", token=token, headers=headers, json=body)

    async def xrpc(self, nsid, *, token=None, params=None, **body) -> Answer:
        method = "POST" if body or nsid.endswith("refreshSession") else "GET"
        return await self.call(method, f"/bluesky/xrpc/{nsid}", token=token, params=params or {}, **body)

    async def login(self, did) -> dict:
        answer = await self.xrpc("com.atproto.server.createSession", json={"identifier": did, "password": APP_PASSWORD})
        return answer.data

    async def put(self, account, text="hello", *, token=None, rkey=None, record=None, **more) -> Answer:
        token = token or (await self.login(account))["accessJwt"]
        body = {
            "repo": account,
            "collection": NSID,
            "rkey": rkey or new_rkey(),
            "record": record or post_record(text),
            **more,
        }
        return await self.xrpc("com.atproto.repo.putRecord", token=token, json=body)


def share_body(account, text="hello") -> dict:
    return {
        "author": f"urn:li:person:{account}",
        "commentary": text,
        "visibility": "PUBLIC",
        "distribution": {"feedDistribution": "MAIN_FEED", "targetEntities": [], "thirdPartyDistributionChannels": []},
        "lifecycleState": "PUBLISHED",
        "isReshareDisabledByAuthor": False,
    }


def post_record(text="hello", **more) -> dict:
    return {"$type": NSID, "text": text, "createdAt": "2026-11-24T10:00:00.000Z", **more}


def new_rkey() -> str:
    digits = "234567abcdefghijklmnopqrstuvwxyz"
    number = next(_numbers)
    return "3" + "".join(digits[number >> shift & 31] for shift in range(55, -1, -5))


def new_account(platform="twitter") -> str:
    """Return the name of an account that no other test uses."""
    return f"did:plc:account{next(_numbers)}" if platform == "bluesky" else str(1000 + next(_numbers))


PUBLISH = {"twitter": Client.tweet, "linkedin": Client.share, "bluesky": Client.put, "mastodon": Client.toot}
"""How each platform publishes a text."""
