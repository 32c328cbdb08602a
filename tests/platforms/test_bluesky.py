import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from postpost.outgoing import HttpClient
from postpost.platforms.base import (
    Account,
    App,
    ErrorCode,
    Http,
    Intent,
    NotPublished,
    PlatformError,
    Published,
    Retry,
    Scope,
)
from postpost.platforms.bluesky import CONNECTOR, facets, mentioned_handles, session_end, timestamp_id
from tests.platforms.journal import NOON, Journal, make_account, make_post
from tests.platforms.scripted import Answer, Scripted

AUTH, CONTENT, LIMITED = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT, ErrorCode.RATE_LIMITED
SERVER, UNKNOWN, TOO_LARGE = ErrorCode.PLATFORM_SERVER_ERROR, ErrorCode.UNKNOWN_ERROR, ErrorCode.CONTENT_TOO_LARGE

DID = "did:plc:abc123xyz"
CREDENTIALS = {
    "identifier": "ann.example.com",
    "app_password": "canary-pass-word",
    "accessJwt": "canary-access",
    "refreshJwt": "canary-refresh",
}
SESSION = {"did": DID, "handle": "ann.example.com", "active": True}
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")


def jwt(expires: datetime) -> str:
    payload = base64.urlsafe_b64encode(msgspec.json.encode({"exp": int(expires.timestamp())})).decode().rstrip("=")
    return f"head.{payload}.sign"


@pytest.mark.parametrize("token", ["a.b", "a.###.c", "a.bnVsbA.c", "a.e30.c", "a.W10.c", "é.é.é"])
def test_session_end_when_token_says_nothing_then_is_unknown(token: str) -> None:
    assert session_end(token) is None


def account(server: Scripted, **changes: Any) -> Account:
    return make_account(server.url, DID, **({"credentials": CREDENTIALS} | changes))


def refused(status: int, name: str, message: str = "Words", **headers: str) -> Answer:
    shown = {key.replace("_", "-"): value for key, value in headers.items()}
    return Answer(status, {"error": name, "message": message}, headers=shown)


def written(rkey: str = "3lqabc") -> Answer:
    return Answer(200, {"uri": f"at://{DID}/app.bsky.feed.post/{rkey}", "cid": f"cid-{rkey}"})


async def failed_publish(server: Scripted, journal: Journal, http: Http) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    return caught.value


def marked(text: str, dids: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """Return the marked pieces of a text, cut out by their byte offsets, with what they stand for."""
    data = text.encode()
    found = []
    for facet in facets(text, dids or {}):
        [feature] = facet["features"]
        piece = data[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode()
        found.append((piece, feature.get("uri") or feature.get("tag") or feature.get("did")))
    return found


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("no marks", []),
        ("see https://e.org/a?b=1#c now", [("https://e.org/a?b=1#c", "https://e.org/a?b=1#c")]),
        ("👩‍👩‍👧‍👦 ü https://e.org", [("https://e.org", "https://e.org")]),
        ("end https://e.org.", [("https://e.org", "https://e.org")]),
        ("(https://e.org/a)", [("https://e.org/a", "https://e.org/a")]),
        ("https://e.org/a_(b)", [("https://e.org/a_(b)", "https://e.org/a_(b)")]),
        ("go bsky.app/x, ok", [("bsky.app/x", "https://bsky.app/x")]),
        ("http://localhost:3000/x", [("http://localhost:3000/x", "http://localhost:3000/x")]),
        ("foo.js e.g. 10.0.0.1 https:// http://) me@e.org a.co@e.org", []),
        ("#One and ＃två!", [("#One", "One"), ("＃två", "två")]),
        ("#c3po, #2024 #a.b. #_ a#b #\ufe0f", [("#c3po", "c3po"), ("#a.b", "a.b")]),
        ("#" + "x" * 65, []),
        ("line\n#tag\nhttps://e.org", [("#tag", "tag"), ("https://e.org", "https://e.org")]),
        ("buy $gme and $1 ($AAPL) $TOOLONG", [("$gme", "$GME"), ("$AAPL", "$AAPL")]),
    ],
)
def test_facets_when_text_holds_links_and_tags_then_marks_their_bytes(text: str, pieces: list[tuple[str, str]]) -> None:
    assert marked(text) == pieces


def test_facets_when_handles_resolve_then_only_those_are_marked() -> None:
    text = "é @Ann.example.com and (@bob.test) @nobody.test @x a@b.cd"
    dids = {"ann.example.com": "did:plc:a", "bob.test": "did:plc:b"}
    assert marked(text, dids) == [("@Ann.example.com", "did:plc:a"), ("@bob.test", "did:plc:b")]


def test_facets_when_mention_stands_in_a_link_then_the_link_wins() -> None:
    text = "https://e.org/(@bob.test)"
    assert marked(text, {"bob.test": "did:plc:b"}) == [(text, text)]


def test_mentioned_handles_when_repeated_then_are_listed_once() -> None:
    assert mentioned_handles("@A.test @a.test, @b.test. c@d.test") == ["a.test", "b.test"]


def test_timestamp_id_when_time_grows_then_is_a_tid_that_sorts_by_it() -> None:
    moments = [NOON + timedelta(microseconds=step) for step in (0, 1, 1_000_000, 10**12)]
    made = [timestamp_id(moment, 1023 - step) for step, moment in enumerate(moments)]
    assert made == sorted(made)
    assert all(TID.fullmatch(tid) for tid in made)


def test_timestamp_id_when_decoded_then_holds_microseconds_and_clock() -> None:
    number = 0
    for digit in timestamp_id(NOON, 5000):
        number = number * 32 + "234567abcdefghijklmnopqrstuvwxyz".index(digit)
    assert (number & 1023, number >> 10) == (5000 % 1024, int(NOON.timestamp()) * 1_000_000 + NOON.microsecond)


async def test_publish_when_accepted_then_keeps_uri_cid_and_address(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(written("3lqabc"))
    await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    uri = f"at://{DID}/app.bsky.feed.post/3lqabc"
    address = f"https://bsky.app/profile/{DID}/post/3lqabc"
    assert journal.published[0] == Published(uri, address, {"cid": "cid-3lqabc"})


async def test_publish_when_sent_then_writes_the_stored_record_only_if_absent(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(written())
    await CONNECTOR.publish(make_post(account(server), "Hi #you", settings={"langs": ["en", "de"]}), journal, http)
    body = server.last.json()
    assert server.last.path == "/xrpc/com.atproto.repo.putRecord"
    assert server.last.headers["authorization"] == "Bearer canary-access"
    assert {name: body[name] for name in ("repo", "collection", "swapRecord")} == {
        "repo": DID,
        "collection": "app.bsky.feed.post",
        "swapRecord": None,
    }
    assert body["record"] == {
        "$type": "app.bsky.feed.post",
        "text": "Hi #you",
        "createdAt": "2026-05-04T12:00:00.123Z",
        "langs": ["en", "de"],
        "facets": [
            {
                "index": {"byteStart": 3, "byteEnd": 7},
                "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "you"}],
            }
        ],
    }
    assert journal.stored["record-0"] == {"rkey": body["rkey"], "record": body["record"]}
    assert journal.keys == [{"rkey": body["rkey"]}]
    assert TID.fullmatch(body["rkey"])


async def test_publish_when_tried_again_later_then_writes_the_very_same_record(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(503), written())
    await failed_publish(server, journal, http)
    journal.time += timedelta(minutes=5)
    await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    assert server.seen[0].json() == server.seen[1].json()


async def test_publish_when_chain_then_each_part_names_root_and_parent(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(written("3a"), written("3b"), written("3c"))
    await CONNECTOR.publish(make_post(account(server), "a", "b", "c"), journal, http)

    def reference(rkey: str) -> dict[str, str]:
        return {"uri": f"at://{DID}/app.bsky.feed.post/{rkey}", "cid": f"cid-{rkey}"}

    assert [seen.json()["record"].get("reply") for seen in server.seen] == [
        None,
        {"root": reference("3a"), "parent": reference("3a")},
        {"root": reference("3a"), "parent": reference("3b")},
    ]
    assert len({seen.json()["rkey"] for seen in server.seen}) == 3


async def test_publish_when_handles_are_mentioned_then_resolves_them_once(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    post = make_post(account(server), "Hi @ann.test and @nobody.test")
    server.will(Answer(200, {"did": "did:plc:ann"}), refused(400, "HandleNotFound"), Answer(503))
    with pytest.raises(PlatformError):
        await CONNECTOR.publish(post, journal, http)
    server.will(written())
    await CONNECTOR.publish(post, journal, http)
    assert [seen.query.get("handle") for seen in server.seen] == ["ann.test", "nobody.test", None, None]
    [facet] = server.last.json()["record"]["facets"]
    assert facet["features"] == [{"$type": "app.bsky.richtext.facet#mention", "did": "did:plc:ann"}]


async def test_publish_when_resolving_fails_for_now_then_nothing_is_written(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(502))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.publish(make_post(account(server), "Hi @ann.test"), journal, http)
    assert (caught.value.retry, journal.stored, len(server.seen)) == (Retry.BACK_OFF, {}, 1)


async def test_publish_when_there_is_no_session_then_asks_for_a_refresh(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    credentials = {"identifier": DID, "app_password": "p"}
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.publish(make_post(account(server, credentials=credentials)), journal, http)
    assert (caught.value.retry, caught.value.refused, server.seen) == (Retry.REFRESH, True, [])


async def test_publish_when_another_record_stands_under_the_key_then_takes_that(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(refused(400, "InvalidSwap"), written("3x"))
    await CONNECTOR.publish(make_post(account(server)), journal, http)
    assert journal.published[0].posted_id.endswith("/3x")
    assert server.last.path == "/xrpc/com.atproto.repo.getRecord"


async def test_publish_when_swap_is_refused_but_no_record_stands_then_fails(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(refused(400, "InvalidSwap"), refused(400, "RecordNotFound"))
    assert (await failed_publish(server, journal, http)).code is CONTENT


@pytest.mark.parametrize(
    "answer", [Answer(200, {}), Answer(200, text="<html>"), Answer(200, {"uri": "at://x", "cid": "c"})]
)
async def test_publish_when_success_names_no_record_then_proves_nothing(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer
) -> None:
    server.will(answer)
    error = await failed_publish(server, journal, http)
    assert (error.code, error.refused) == (UNKNOWN, False)


@pytest.mark.parametrize(
    ("answer", "code", "retry", "scope"),
    [
        (refused(400, "ExpiredToken", "Token has expired"), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (refused(400, "InvalidToken"), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (refused(401, "AuthMissing"), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (refused(401, "AuthenticationRequired"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(401, "AccountDeactivated"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(401, "AccountTakedown"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(401, "AuthFactorTokenRequired"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(429, "RateLimitExceeded"), LIMITED, Retry.WAIT, Scope.CONNECTION),
        (refused(400, "InvalidRequest", "grapheme too big (maximum 300)"), CONTENT, Retry.NEVER, Scope.POST),
        (refused(400, "InvalidMimeType"), CONTENT, Retry.NEVER, Scope.POST),
        (refused(400, "InvalidRequest", "blob too big (maximum 2000000)"), TOO_LARGE, Retry.NEVER, Scope.POST),
        (refused(413, "PayloadTooLargeError"), TOO_LARGE, Retry.NEVER, Scope.POST),
        (refused(400, "BlobNotFound"), SERVER, Retry.BACK_OFF, Scope.POST),
        (refused(500, "InternalServerError"), SERVER, Retry.BACK_OFF, Scope.POST),
        (refused(502, "UpstreamFailure"), SERVER, Retry.BACK_OFF, Scope.POST),
        (refused(504, "UpstreamTimeout"), SERVER, Retry.BACK_OFF, Scope.POST),
        (Answer(404, text="<html>"), UNKNOWN, Retry.NEVER, Scope.POST),
    ],
)
async def test_publish_when_refused_then_error_is_that_of_the_table(
    server: Scripted,
    journal: Journal,
    http: HttpClient,
    answer: Answer,
    code: ErrorCode,
    retry: Retry,
    scope: Scope,
) -> None:
    server.will(answer)
    error = await failed_publish(server, journal, http)
    assert (error.code, error.retry, error.scope) == (code, retry, scope)
    assert (error.status, error.refused) == (answer.status, answer.status < 500)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, timedelta(minutes=5)),
        ({"retry_after": "42"}, timedelta(seconds=42)),
        ({"ratelimit_reset": str(int(datetime(2026, 5, 4, 12, 1, tzinfo=UTC).timestamp()))}, timedelta(minutes=1)),
        ({"ratelimit_reset": str(int(datetime(2026, 5, 4, 11, 1, tzinfo=UTC).timestamp()))}, timedelta(0)),
    ],
)
async def test_publish_when_rate_limited_then_waits_as_told(
    server: Scripted, journal: Journal, http: HttpClient, headers: dict[str, str], wait: timedelta
) -> None:
    server.will(refused(429, "RateLimitExceeded", **headers))
    assert (await failed_publish(server, journal, http)).wait == wait


async def test_publish_when_server_shows_secrets_then_they_are_taken_out(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(refused(400, "InvalidRequest", "canary-access canary-refresh canary-pass-word for ann.example.com"))
    error = await failed_publish(server, journal, http)
    assert error.message == "[removed] [removed] [removed] for ann.example.com"
    assert "canary" not in (error.raw or "")


async def reconcile(server: Scripted, journal: Journal, http: Http) -> Any:
    intent = Intent(0, {"rkey": "3lqabc"}, NOON)
    return await CONNECTOR.reconcile(make_post(account(server)), intent, journal, http)


async def test_reconcile_when_record_stands_then_is_published(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(written("3lqabc"))
    found = await reconcile(server, journal, http)
    assert (found.posted_id, found.extra) == (f"at://{DID}/app.bsky.feed.post/3lqabc", {"cid": "cid-3lqabc"})
    assert server.last.query == {"repo": DID, "collection": "app.bsky.feed.post", "rkey": "3lqabc"}
    assert "authorization" not in server.last.headers


async def test_reconcile_when_there_is_no_record_then_is_not_published(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(refused(400, "RecordNotFound"))
    assert await reconcile(server, journal, http) == NotPublished()


@pytest.mark.parametrize("answer", [Answer(503), Answer(200, text="<html>"), refused(429, "RateLimitExceeded")])
async def test_reconcile_when_server_cannot_say_then_raises(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer
) -> None:
    server.will(answer)
    with pytest.raises(PlatformError) as caught:
        await reconcile(server, journal, http)
    assert caught.value.retry is not Retry.NEVER


async def test_identify_when_session_is_good_then_says_whose_it_is(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, SESSION), Answer(200, {"displayName": "Ann", "avatar": "https://p/a.jpg"}))
    identity = await CONNECTOR.identify(account(server), http)
    assert (identity.id, identity.username, identity.display_name) == (DID, "ann.example.com", "Ann")
    assert (identity.profile_image_url, identity.profile_url) == (
        "https://p/a.jpg",
        "https://bsky.app/profile/ann.example.com",
    )


@pytest.mark.parametrize("profile", [refused(400, "InvalidRequest", "No service configured"), Answer(drops=True)])
async def test_identify_when_server_has_no_profiles_then_does_without(
    server: Scripted, http: HttpClient, profile: Answer
) -> None:
    # A broken GET on a kept connection is repeated once by the client, hence twice.
    server.will(Answer(200, SESSION), profile, profile)
    assert (await CONNECTOR.identify(account(server), http)).display_name is None


@pytest.mark.parametrize(
    ("answer", "code", "retry"),
    [
        (refused(400, "ExpiredToken"), AUTH, Retry.REFRESH),
        (Answer(200, SESSION | {"active": False, "status": "takendown"}), AUTH, Retry.NEVER),
        (Answer(200, {}), UNKNOWN, Retry.BACK_OFF),
    ],
)
async def test_identify_when_session_is_of_no_use_then_says_why(
    server: Scripted, http: HttpClient, answer: Answer, code: ErrorCode, retry: Retry
) -> None:
    server.will(answer)
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.identify(account(server), http)
    assert (caught.value.code, caught.value.retry) == (code, retry)


async def test_connect_when_app_password_is_good_then_opens_a_session(server: Scripted, http: HttpClient) -> None:
    token = jwt(NOON + timedelta(hours=2))
    server.will(Answer(200, SESSION | {"accessJwt": token, "refreshJwt": "r1"}), Answer(200, SESSION), Answer(400))
    given = {"identifier": " @Ann.Example.com ", "app_password": "abcd-efgh-ijkl-mnop "}
    connected = await CONNECTOR.connect(server.url, given, App(), http)
    assert server.seen[0].json() == {"identifier": "ann.example.com", "password": "abcd-efgh-ijkl-mnop"}
    assert connected.identity.id == DID
    assert connected.grant.credentials["accessJwt"] == token
    assert connected.grant.expires_at == (NOON + timedelta(hours=2)).replace(microsecond=0)


@pytest.mark.parametrize("given", [{}, {"identifier": "ann.test"}, {"identifier": " ", "app_password": "p"}])
async def test_connect_when_something_is_missing_then_server_is_not_asked(
    server: Scripted, http: HttpClient, given: dict[str, str]
) -> None:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.connect(server.url, given, App(), http)
    assert (caught.value.code, server.seen) == (AUTH, [])


async def test_connect_when_second_factor_is_asked_for_then_says_so(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(401, {"error": "AuthFactorTokenRequired"}))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.connect(server.url, {"identifier": "ann.test", "app_password": "p"}, App(), http)
    assert (caught.value.code, caught.value.retry) == (AUTH, Retry.NEVER)


async def test_refresh_when_session_can_be_renewed_then_returns_the_new_pair(
    server: Scripted, http: HttpClient
) -> None:
    server.will(Answer(200, {"accessJwt": "a.b", "refreshJwt": "r2", "did": DID}))
    grant = await CONNECTOR.refresh(account(server), App(), http)
    assert grant.credentials == CREDENTIALS | {"accessJwt": "a.b", "refreshJwt": "r2"}
    assert grant.expires_at is None
    assert (server.last.path, server.last.body) == ("/xrpc/com.atproto.server.refreshSession", b"")
    assert server.last.headers["authorization"] == "Bearer canary-refresh"


@pytest.mark.parametrize(
    "answer", [refused(400, "ExpiredToken", "Token has been revoked"), refused(401, "AuthMissing")]
)
async def test_refresh_when_renewal_is_refused_then_logs_in_again(
    server: Scripted, http: HttpClient, answer: Answer
) -> None:
    server.will(answer, Answer(200, {"accessJwt": "a2", "refreshJwt": "r2", "did": DID}))
    assert (await CONNECTOR.refresh(account(server), App(), http)).credentials["accessJwt"] == "a2"
    assert server.last.json() == {"identifier": "ann.example.com", "password": "canary-pass-word"}


async def test_refresh_when_there_is_no_session_then_logs_in(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, {"accessJwt": "a2", "refreshJwt": "r2", "did": DID}))
    credentials = {"identifier": DID, "app_password": "canary-pass-word"}
    grant = await CONNECTOR.refresh(account(server, credentials=credentials), App(), http)
    assert grant.credentials["refreshJwt"] == "r2"
    assert [seen.path for seen in server.seen] == ["/xrpc/com.atproto.server.createSession"]


@pytest.mark.parametrize(
    ("answers", "code", "retry"),
    [
        ((refused(400, "ExpiredToken"), refused(401, "AuthenticationRequired")), AUTH, Retry.NEVER),
        ((refused(400, "ExpiredToken"), refused(400, "InvalidToken")), AUTH, Retry.NEVER),
        ((refused(400, "ExpiredToken"), refused(429, "RateLimitExceeded")), LIMITED, Retry.WAIT),
        ((refused(400, "ExpiredToken"), Answer(503)), SERVER, Retry.BACK_OFF),
        ((Answer(502),), SERVER, Retry.BACK_OFF),
        ((Answer(drops=True),), ErrorCode.NETWORK_ERROR, Retry.BACK_OFF),
        ((Answer(200, {"accessJwt": "canary-new"}),), UNKNOWN, Retry.BACK_OFF),
        ((Answer(200, {"accessJwt": "a", "refreshJwt": "b", "did": "did:plc:other"}),), AUTH, Retry.NEVER),
        ((Answer(200, {"accessJwt": "a", "refreshJwt": "b", "did": DID, "active": False}),), AUTH, Retry.NEVER),
    ],
)
async def test_refresh_when_it_fails_then_only_a_refused_log_in_ends_the_connection(
    server: Scripted, http: HttpClient, answers: tuple[Answer, ...], code: ErrorCode, retry: Retry
) -> None:
    server.will(*answers)
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(account(server), App(), http)
    assert (caught.value.code, caught.value.retry) == (code, retry)
    assert "canary" not in f"{caught.value.message}{caught.value.raw}"


def test_sandbox_credentials_when_asked_then_name_the_did() -> None:
    assert CONNECTOR.sandbox_credentials(DID) == {"identifier": DID, "app_password": "sand-boxx-sand-boxx"}
