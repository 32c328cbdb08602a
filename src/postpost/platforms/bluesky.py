"""Bluesky (AT Protocol): records under keys of our own choice, so that a repeat changes nothing and is found again."""

import re
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import regex
from twitter_text import extract_urls

from postpost.platforms.answers import (
    SERVER_ERRORS,
    Row,
    Told,
    bearer,
    failure,
    object_of,
    reconnect,
    secrets_of,
    text_of,
    told_wait,
    unix_time,
    unreadable,
)
from postpost.platforms.base import (
    Account,
    App,
    Connected,
    Connector,
    ErrorCode,
    Grant,
    Http,
    Identity,
    Intent,
    Json,
    NotPublished,
    Outcome,
    Platform,
    PlatformError,
    Post,
    Published,
    Reconciles,
    Response,
    Retry,
    Scope,
    Steps,
)

COLLECTION = "app.bsky.feed.post"
APP_URL = "https://bsky.app"

_AUTH, _CONTENT = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT

ERRORS: tuple[Row, ...] = (
    # An expired token is a 400 here.
    Row(_AUTH, (400,), ("ExpiredToken", "InvalidToken"), retry=Retry.REFRESH, scope=Scope.CONNECTION),
    Row(
        _AUTH,
        (400, 401, 403),
        ("AuthFactorTokenRequired",),
        scope=Scope.CONNECTION,
        says="The account asks for a second factor: connect it with an app password",
    ),
    Row(
        _AUTH,
        (400, 401, 403),
        ("AuthenticationRequired", "AccountDeactivated", "AccountTakedown", "AccountSuspended"),
        scope=Scope.CONNECTION,
    ),
    Row(_AUTH, (401,), retry=Retry.REFRESH, scope=Scope.CONNECTION),
    Row(ErrorCode.RATE_LIMITED, (429,), retry=Retry.WAIT, scope=Scope.CONNECTION, wait=timedelta(minutes=5)),
    Row(ErrorCode.CONTENT_TOO_LARGE, (400,), phrases=("blob too big",)),
    Row(ErrorCode.CONTENT_TOO_LARGE, (413,), says="The post is too large for the server"),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, (400,), ("BlobNotFound",), retry=Retry.BACK_OFF),
    # InvalidRequest (too long, facets, langs, createdAt), InvalidMimeType and the like.
    Row(_CONTENT, (400,)),
    Row(ErrorCode.PLATFORM_SERVER_ERROR, SERVER_ERRORS, retry=Retry.BACK_OFF),
)
"""What the errors of a personal data server mean (Bluesky fact sheet, errors)."""


def read_error(response: Response) -> Told:
    """Read an XRPC error: a name and a sentence."""
    body = object_of(response)
    name = text_of(body.get("error"))
    return Told(frozenset([name] if name else ()), text_of(body.get("message")) or name)


def classify(response: Response, account: Account, now: datetime | None = None) -> PlatformError:
    """Return what an error answer means; `now` stands in for a missing Date header."""
    wait = told_wait(response, "ratelimit-reset", now)
    return failure(ERRORS, response, read_error(response), secrets=secrets_of(account.credentials), wait=wait)


_TID_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"


def timestamp_id(moment: datetime, clock_id: int) -> str:
    """Return a TID, the only kind of key a post may have: 53 bits of microseconds since 1970, 10 bits of clock id."""
    microseconds = int(moment.timestamp()) * 1_000_000 + moment.microsecond
    number = (microseconds & (1 << 53) - 1) << 10 | clock_id & 0x3FF
    return "".join(_TID_DIGITS[number >> shift & 31] for shift in range(60, -1, -5))


_LINK = re.compile(
    r"(?:(?<=\s)|(?<=\()|^)(?:https?://[^\s/().,;:!?]\S*|[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+\S*)", re.IGNORECASE
)
_DOMAIN = re.compile(r"[a-z0-9.-]*[a-z0-9]", re.IGNORECASE)
_MENTION = re.compile(
    r"(?:(?<=\s)|(?<=\()|^)@((?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?)", re.I
)
_TAG = regex.compile(r"(?:(?<=\s)|^)[#＃](?!\ufe0f)([^\s\u00ad\u2060\u200a-\u200d\u20e2]+)")
_CASHTAG = re.compile(r"(?:(?<=\s)|(?<=\()|^)\$([a-z][a-z0-9]{0,4})(?=[\s.,;:!?)]|$)", re.IGNORECASE)
_TAG_END = regex.compile(r"\p{P}+$")
_LETTER = regex.compile(r"\p{L}")
_GRAPHEME = regex.compile(r"\X")
MAX_TAG_GRAPHEMES = 64
MAX_TAG_BYTES = 640

Found = tuple[int, int, dict[str, Json]]
"""Where in the text (characters, end exclusive) a feature stands, and the feature."""


def mentioned_handles(text: str) -> list[str]:
    """Return the handles a text mentions, in lower case, each once."""
    return list(dict.fromkeys(found[1].lower() for found in _MENTION.finditer(text)))


def facets(text: str, dids: Mapping[str, str]) -> list[dict[str, Json]]:
    """Return the links, hashtags and mentions of a text as facets, in order, by offsets in its UTF-8 form.

    `dids` holds the mentioned handles that resolve; others stay plain text. Found as Bluesky's own client does
    (fact sheet, facets).
    """
    result: list[dict[str, Json]] = []
    done = 0
    for start, end, feature in sorted(
        (*_links(text), *_mentions(text, dids), *_tags(text)), key=lambda found: found[0]
    ):
        if start < done:
            # Facets may not overlap: what begins inside a link belongs to the link.
            continue
        done = end
        begin = len(text[:start].encode())
        index = {"byteStart": begin, "byteEnd": begin + len(text[start:end].encode())}
        result.append({"index": index, "features": [feature]})
    return result


def _links(text: str) -> Iterator[Found]:
    for found in _LINK.finditer(text):
        link = found[0]
        if link[-1] in ".,;:!?":
            link = link[:-1]
        if link.endswith(")") and "(" not in link:
            link = link[:-1]
        uri = link
        if not link.lower().startswith(("http://", "https://")):
            domain = _DOMAIN.match(link)
            # Only a domain under a top-level domain that exists is meant as a link, and no e-mail address is.
            if domain is None or extract_urls(domain[0]) != [domain[0]] or link[domain.end() :].startswith("@"):
                continue
            uri = f"https://{link}"
        yield found.start(), found.start() + len(link), {"$type": "app.bsky.richtext.facet#link", "uri": uri}


def _mentions(text: str, dids: Mapping[str, str]) -> Iterator[Found]:
    for found in _MENTION.finditer(text):
        did = dids.get(found[1].lower())
        if did is not None:
            yield found.start(), found.end(), {"$type": "app.bsky.richtext.facet#mention", "did": did}


def _tags(text: str) -> Iterator[Found]:
    for found in _TAG.finditer(text):
        tag = _TAG_END.sub("", found[1])
        short = len(tag.encode()) <= MAX_TAG_BYTES and len(_GRAPHEME.findall(tag)) <= MAX_TAG_GRAPHEMES
        if short and _LETTER.search(tag):
            yield found.start(), found.start(1) + len(tag), {"$type": "app.bsky.richtext.facet#tag", "tag": tag}
    for ticker in _CASHTAG.finditer(text):
        yield ticker.start(), ticker.end(), {"$type": "app.bsky.richtext.facet#tag", "tag": ticker[0].upper()}


def session_end(token: str) -> datetime | None:
    """Return when a session token ends (its `exp` claim); None when it does not say."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    return unix_time(claims.get("exp")) if isinstance(claims, dict) else None


def _xrpc(account: Account, method: str) -> str:
    return f"{account.base_url}/xrpc/{method}"


def _published(uri: str, cid: str) -> Published:
    _, _, did, _, rkey = uri.split("/", 4)
    return Published(uri, f"{APP_URL}/profile/{did}/post/{rkey}", {"cid": cid})


def _read_record(response: Response, account: Account) -> Published:
    body = object_of(response)
    uri, cid = text_of(body.get("uri")), text_of(body.get("cid"))
    if uri is None or cid is None or uri.count("/") != 4:
        raise unreadable(response, secrets_of(account.credentials))
    return _published(uri, cid)


class Bluesky:
    """The connector of Bluesky."""

    platform = Platform(
        key="bluesky",
        name="Bluesky",
        base_url="https://bsky.social",
        credential_fields=("identifier", "app_password"),
        reconciles=Reconciles.CERTAIN,
        capabilities=frozenset({"mentions", "reply_chain"}),
    )

    async def connect(self, base_url: str, credentials: Mapping[str, str], app: App, http: Http) -> Connected:  # noqa: ARG002
        """Open a session with an app password (com.atproto.server.createSession) and say whose it is."""
        identifier = credentials.get("identifier", "").strip().removeprefix("@")
        kept = {
            "identifier": identifier if identifier.startswith("did:") else identifier.lower(),
            "app_password": credentials.get("app_password", "").strip(),
        }
        grant = await self._log_in(Account("", "", base_url, kept), http)
        identity = await self.identify(Account("", "", base_url, grant.credentials), http)
        return Connected(identity, grant)

    async def refresh(self, account: Account, app: App, http: Http) -> Grant:  # noqa: ARG002
        """Renew the session, or open a new one when there is none or it is over (fact sheet, refreshing)."""
        token = account.credentials.get("refreshJwt")
        if not token:
            return await self._log_in(account, http)
        url = _xrpc(account, "com.atproto.server.refreshSession")
        response = await http.request("POST", url, headers={"Authorization": f"Bearer {token}"})
        if response.status in (400, 401):
            return await self._log_in(account, http)
        return self._session(response, account)

    async def _log_in(self, account: Account, http: Http) -> Grant:
        identifier, password = (account.credentials.get(name) for name in self.platform.credential_fields)
        if not identifier or not password:
            raise reconnect("An identifier (handle or DID) and an app password are needed")
        given = {"identifier": identifier, "password": password}
        response = await http.request("POST", _xrpc(account, "com.atproto.server.createSession"), json=given)
        return self._session(response, account)

    def _session(self, response: Response, account: Account) -> Grant:
        if response.status >= 300:
            error = classify(response, account)
            if error.retry is Retry.REFRESH or response.status == 400:
                # A refused log-in cannot be mended by another one.
                error.code, error.retry, error.scope = _AUTH, Retry.NEVER, Scope.CONNECTION
            raise error
        body = object_of(response)
        access, renewal, did = (text_of(body.get(name)) for name in ("accessJwt", "refreshJwt", "did"))
        if access is None or renewal is None or did is None:
            # Its text is not kept: it may hold a token.
            raise unreadable(Response(response.status, response.headers, b""))
        if body.get("active") is False:
            raise reconnect(f"The account is not active: {text_of(body.get('status')) or 'unknown reason'}")
        if account.id and did != account.id:
            raise reconnect(f"These credentials belong to another account now: {did}")
        return Grant({**account.credentials, "accessJwt": access, "refreshJwt": renewal}, session_end(access))

    async def identify(self, account: Account, http: Http) -> Identity:
        """Say whose the session is (com.atproto.server.getSession), with name and picture where they can be had."""
        url = _xrpc(account, "com.atproto.server.getSession")
        response = await http.request("GET", url, headers=bearer(account, "accessJwt"))
        if response.status >= 300:
            raise classify(response, account)
        body = object_of(response)
        did, handle = text_of(body.get("did")), text_of(body.get("handle"))
        if did is None or handle is None:
            raise unreadable(response, secrets_of(account.credentials))
        if body.get("active") is False:
            raise reconnect(f"The account is not active: {text_of(body.get('status')) or 'unknown reason'}")
        profile = await self._profile(account, did, http)
        return Identity(
            id=did,
            username=handle,
            display_name=text_of(profile.get("displayName")),
            profile_image_url=text_of(profile.get("avatar")),
            profile_url=f"{APP_URL}/profile/{handle}",
        )

    async def _profile(self, account: Account, did: str, http: Http) -> Mapping[str, Json]:
        """Return the account's profile, empty when this server has none: it is decoration."""
        url, headers = _xrpc(account, "app.bsky.actor.getProfile"), bearer(account, "accessJwt")
        try:
            response = await http.request("GET", url, params={"actor": did}, headers=headers)
        except PlatformError:
            return {}
        return object_of(response) if response.status < 300 else {}

    async def publish(self, post: Post, steps: Steps, http: Http) -> None:
        """Write one record for each part, in order, each a reply to the one before it."""
        headers = bearer(post.account, "accessJwt")
        root: Published | None = None
        parent: Published | None = None
        for part, text in enumerate(post.parts):
            dids: Mapping[str, str] = {}
            if handles := mentioned_handles(text):
                dids = await steps.once(f"mentions-{part}", partial(self._resolve, post.account, handles, steps, http))
            reply = {"root": _reference(root), "parent": _reference(parent)} if root and parent else None
            # The key and the very record are kept before the first attempt: a repeat writes the same once more.
            write = await steps.once(f"record-{part}", partial(_make_record, post, part, dids, reply, steps))
            call = partial(self._put, post.account, write, headers, steps, http)
            parent = await steps.public(part, {"rkey": write["rkey"]}, call)
            root = root or parent

    async def _resolve(self, account: Account, handles: list[str], steps: Steps, http: Http) -> Json:
        dids: dict[str, str] = {}
        for handle in handles:
            url = _xrpc(account, "com.atproto.identity.resolveHandle")
            response = await http.request("GET", url, params={"handle": handle})
            if response.status >= 300 and response.status not in (400, 404):
                raise classify(response, account, steps.now())
            if response.status < 300 and (did := text_of(object_of(response).get("did"))):
                dids[handle] = did
        return dids

    async def _put(
        self, account: Account, write: Mapping[str, Json], headers: Mapping[str, str], steps: Steps, http: Http
    ) -> Published:
        body = {
            "repo": account.id,
            "collection": COLLECTION,
            "rkey": write["rkey"],
            "record": write["record"],
            # "Only if there is none": without it an existing record would be overwritten.
            "swapRecord": None,
        }
        url = _xrpc(account, "com.atproto.repo.putRecord")
        response = await http.request("POST", url, json=body, headers=headers)
        if response.status < 300:
            return _read_record(response, account)
        if "InvalidSwap" in read_error(response).names:
            # Something stands under our key, and nobody else chooses our keys.
            standing = await self._get(account, write["rkey"], steps, http)
            if standing is not None:
                return standing
        raise classify(response, account, steps.now())

    async def _get(self, account: Account, rkey: str, steps: Steps, http: Http) -> Published | None:
        params = {"repo": account.id, "collection": COLLECTION, "rkey": rkey}
        response = await http.request("GET", _xrpc(account, "com.atproto.repo.getRecord"), params=params)
        if response.status < 300:
            return _read_record(response, account)
        if "RecordNotFound" in read_error(response).names:
            return None
        raise classify(response, account, steps.now())

    async def reconcile(self, post: Post, intent: Intent, steps: Steps, http: Http) -> Outcome:
        """Read the record under the part's key: it is there or it is not (fact sheet, not posting twice)."""
        return await self._get(post.account, str(intent.key["rkey"]), steps, http) or NotPublished()

    def sandbox_credentials(self, account_id: str) -> Mapping[str, str]:
        """Return what the sandbox takes for this account: its DID and any app password."""
        return {"identifier": account_id, "app_password": "sand-boxx-sand-boxx"}


def _reference(published: Published) -> dict[str, str]:
    return {"uri": published.posted_id, "cid": published.extra["cid"]}


async def _make_record(post: Post, part: int, dids: Mapping[str, str], reply: Json, steps: Steps) -> Json:
    now = steps.now().astimezone(UTC)
    text = post.parts[part]
    record: dict[str, Json] = {
        "$type": COLLECTION,
        "text": text,
        "createdAt": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if found := facets(text, dids):
        record["facets"] = found
    if langs := post.settings.get("langs"):
        record["langs"] = list(langs)[:3]
    if reply is not None:
        record["reply"] = reply
    # Two posts of one account made in the same microsecond still get two keys.
    return {"rkey": timestamp_id(now, zlib.crc32(f"{post.id}-{part}".encode())), "record": record}


CONNECTOR: Connector = Bluesky()
