from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from postpost.outgoing import HttpClient
from postpost.platforms.base import (
    App,
    ErrorCode,
    Http,
    Intent,
    NotPublished,
    PlatformError,
    Published,
    Response,
    Retry,
    Scope,
    Undecided,
)
from postpost.platforms.linkedin import CONNECTOR, LINKEDIN_VERSION, classify, little_text, plain_text
from tests.platforms.journal import NOON, Journal, make_account, make_post
from tests.platforms.scripted import Answer, Scripted

AUTH, CONTENT, LIMITED = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT, ErrorCode.RATE_LIMITED
SERVER, UNKNOWN, TOO_LARGE = ErrorCode.PLATFORM_SERVER_ERROR, ErrorCode.UNKNOWN_ERROR, ErrorCode.CONTENT_TOO_LARGE

CREATED = Answer(201, headers={"x-restli-id": "urn:li:share:7"})
MENTION = "Hi @{urn:li:person:AbC|Ann (Lee)}!"
BODY = (
    '{"author":"urn:li:person:1001","commentary":"Hello \\\\(1\\\\)","visibility":"PUBLIC","distribution":'
    '{"feedDistribution":"MAIN_FEED","targetEntities":[],"thirdPartyDistributionChannels":[]},'
    '"lifecycleState":"PUBLISHED","isReshareDisabledByAuthor":false}'
)


def input_error(status: int, code: str, message: str = "Words") -> Answer:
    item = {"description": message, "code": code, "input": {"inputPath": {"fieldPath": "/commentary"}}}
    return Answer(status, {"message": message, "errorDetails": {"inputErrors": [item]}, "status": status})


DUPLICATE = input_error(422, "DUPLICATE_POST", "Content is a duplicate of urn:li:share:55")


def plain_error(status: int, code: str, message: str = "Words", number: int | None = None) -> Answer:
    return Answer(status, {"status": status, "code": code, "message": message, "serviceErrorCode": number})


async def failed_publish(server: Scripted, journal: Journal, http: Http, text: str = "Hello (1)") -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.publish(make_post(make_account(server.url), text), journal, http)
    return caught.value


async def reconcile(
    server: Scripted,
    journal: Journal,
    http: Http,
    *,
    reads: bool = False,
    asked: int = 0,
    after: timedelta | None = None,
) -> Any:
    facts = {"permissions": ["w_member_social", "r_member_social"] if reads else ["w_member_social"]}
    post = make_post(make_account(server.url, facts=facts), "Hello (1)")
    journal.time = NOON + (after or timedelta(minutes=1))
    return await CONNECTOR.reconcile(post, Intent(0, {"body": BODY}, NOON, asked), journal, http)


@pytest.mark.parametrize(
    ("text", "commentary"),
    [
        (MENTION, r"Hi @[Ann \(Lee\)](urn:li:person:AbC)!"),
        ("C# & #dev, mail me @ a_b@x.io", r"C\# & #dev, mail me \@ a\_b\@x.io"),
        ("50% (approx) {a|b} ~ok", r"50% \(approx\) \{a\|b\} \~ok"),
        ("@{urn:li:organization:42|Acme_1}", r"@[Acme\_1](urn:li:organization:42)"),
        ("@{urn:li:person:123|Ann}", "@[Ann](urn:li:member:123)"),
        ("@{urn:li:member:1|Ann}", r"\@\{urn:li:member:1\|Ann\}"),
        ("@{urn:li:person:a|}", r"\@\{urn:li:person:a\|\}"),
        ("a\\b <c> [d] *e*", r"a\\b \<c\> \[d\] \*e\*"),
        ("# ##x a#b #_", r"\# \##x a\#b \#\_"),
        ("@{urn:li:person:a|A}@{urn:li:person:b|B}", "@[A](urn:li:person:a)@[B](urn:li:person:b)"),
        ("https://e.org/a_(b)", r"https://e.org/a\_\(b\)"),
    ],
)
def test_little_text_when_text_is_given_then_escapes_all_that_is_reserved(text: str, commentary: str) -> None:
    assert little_text(text) == commentary


def test_little_text_when_mentions_are_off_then_names_remain() -> None:
    assert little_text(MENTION, mentions=False) == r"Hi Ann \(Lee\)!"


@pytest.mark.parametrize(
    ("commentary", "words"),
    [
        (r"Hi @[Ann \(Lee\)](urn:li:person:AbC)!", "Hi Ann (Lee)!"),
        (r"C\# & {hashtag|\#|dev} and #ok", "C# & #dev and #ok"),
        (r"a\\b", "a\\b"),
    ],
)
def test_plain_text_when_commentary_is_given_then_returns_its_words(commentary: str, words: str) -> None:
    assert plain_text(commentary) == words


async def test_publish_when_accepted_then_keeps_the_urn(server: Scripted, journal: Journal, http: HttpClient) -> None:
    server.will(CREATED)
    await CONNECTOR.publish(make_post(make_account(server.url), "Hello (1)"), journal, http)
    assert journal.published[0] == Published("urn:li:share:7", "https://www.linkedin.com/feed/update/urn:li:share:7/")


async def test_publish_when_sent_then_body_and_headers_are_linkedins(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(CREATED)
    await CONNECTOR.publish(make_post(make_account(server.url), "Hello (1)"), journal, http)
    assert (server.last.method, server.last.path, server.last.body.decode()) == ("POST", "/rest/posts", BODY)
    assert journal.keys == [{"body": BODY}]
    expected = {
        "authorization": "Bearer canary-access",
        "linkedin-version": LINKEDIN_VERSION,
        "x-restli-protocol-version": "2.0.0",
        "content-type": "application/json",
    }
    assert expected.items() <= server.last.headers.items()


async def test_publish_when_success_names_no_urn_then_proves_nothing(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(201))
    error = await failed_publish(server, journal, http)
    assert (error.code, error.refused) == (UNKNOWN, False)


async def test_publish_when_mention_is_unknown_then_sends_its_name(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(input_error(422, "INVALID_URN_ID"), CREATED)
    await CONNECTOR.publish(make_post(make_account(server.url), MENTION), journal, http)
    assert [seen.json()["commentary"] for seen in server.seen] == [
        r"Hi @[Ann \(Lee\)](urn:li:person:AbC)!",
        r"Hi Ann \(Lee\)!",
    ]
    assert [msgspec.json.decode(key["body"]) for key in journal.keys] == [seen.json() for seen in server.seen]


async def test_publish_when_urn_is_invalid_without_mentions_then_fails(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(input_error(422, "INVALID_URN_ID"))
    assert (await failed_publish(server, journal, http)).code is CONTENT
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("answer", "code", "retry", "scope"),
    [
        (plain_error(401, "INVALID_ACCESS_TOKEN", number=65600), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (plain_error(401, "REVOKED_ACCESS_TOKEN", number=65601), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (plain_error(401, "EXPIRED_ACCESS_TOKEN", number=65602), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (plain_error(403, "ACCESS_DENIED", number=100), AUTH, Retry.NEVER, Scope.CONNECTION),
        (plain_error(403, "X", "Not enough permissions to access: posts"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (plain_error(403, "X", "This resource is forbidden"), SERVER, Retry.BACK_OFF, Scope.POST),
        (plain_error(403, "X"), UNKNOWN, Retry.NEVER, Scope.POST),
        (plain_error(400, "VERSION_MISSING"), UNKNOWN, Retry.NEVER, Scope.APP),
        (plain_error(426, "NONEXISTENT_VERSION"), UNKNOWN, Retry.NEVER, Scope.APP),
        (input_error(422, "FIELD_LENGTH_TOO_LONG"), TOO_LARGE, Retry.NEVER, Scope.POST),
        (input_error(400, "FIELD_LENGTH_TOO_LONG"), TOO_LARGE, Retry.NEVER, Scope.POST),
        (input_error(422, "INVALID_VALUE_FOR_FIELD"), CONTENT, Retry.NEVER, Scope.POST),
        (input_error(400, "INVALID_URN_TYPE"), CONTENT, Retry.NEVER, Scope.POST),
        (input_error(422, "MEDIA_ASSET_PROCESSING_FAILED"), CONTENT, Retry.NEVER, Scope.POST),
        (input_error(422, "MEDIA_ASSET_WAITING_UPLOAD"), SERVER, Retry.BACK_OFF, Scope.POST),
        (DUPLICATE, CONTENT, Retry.NEVER, Scope.POST),
        (plain_error(404, "NOT_FOUND"), CONTENT, Retry.NEVER, Scope.POST),
        (plain_error(409, "CONFLICT"), SERVER, Retry.BACK_OFF, Scope.POST),
        (Answer(413), TOO_LARGE, Retry.NEVER, Scope.POST),
        (Answer(415), CONTENT, Retry.NEVER, Scope.POST),
        (plain_error(429, "TOO_MANY_REQUESTS", number=101), LIMITED, Retry.WAIT, Scope.CONNECTION),
        (plain_error(429, "X", "Resource level throttle APPLICATION DAY limit"), LIMITED, Retry.WAIT, Scope.APP),
        (plain_error(500, "INTERNAL", "Unable to obtain activity"), SERVER, Retry.BACK_OFF, Scope.POST),
        (Answer(504, text="<html>"), SERVER, Retry.BACK_OFF, Scope.POST),
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
    ("message", "headers", "wait"),
    [
        ("Slow down", {}, timedelta(minutes=5)),
        ("Slow down", {"Retry-After": "30"}, timedelta(seconds=30)),
        ("Slow down", {"Retry-After": "Mon, 04 May 2026 12:02:00 GMT"}, timedelta(minutes=2)),
        ("Resource level throttle MEMBER DAY limit for calls to this resource is reached.", {}, timedelta(hours=12)),
        ("Resource level throttle MEMBER DAY limit", {"Retry-After": "7"}, timedelta(seconds=7)),
    ],
)
async def test_publish_when_rate_limited_then_waits_as_told_or_for_the_new_day(
    server: Scripted, journal: Journal, http: HttpClient, message: str, headers: dict[str, str], wait: timedelta
) -> None:
    server.will(Answer(429, {"message": message}, headers=headers))
    assert (await failed_publish(server, journal, http)).wait == wait


async def test_publish_when_refused_then_message_is_the_platforms_own_without_the_token(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(plain_error(401, "REVOKED_ACCESS_TOKEN", "The token canary-access was revoked by the user"))
    error = await failed_publish(server, journal, http)
    assert error.message == "The token [removed] was revoked by the user"
    assert "canary" not in (error.raw or "")


async def test_publish_when_first_attempt_is_a_duplicate_then_content_is_invalid(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(DUPLICATE)
    assert (await failed_publish(server, journal, http)).message == "Content is a duplicate of urn:li:share:55"


async def test_publish_when_missed_post_is_a_duplicate_then_takes_the_named_one(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(200, {"elements": []}))
    assert await reconcile(server, journal, http, reads=True, asked=1) == NotPublished()
    server.will(DUPLICATE)
    await CONNECTOR.publish(make_post(make_account(server.url), "Hello (1)"), journal, http)
    assert journal.published[0].posted_id == "urn:li:share:55"


async def test_reconcile_when_finder_shows_the_post_then_is_published(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    begun = int(NOON.timestamp() * 1000)
    server.will(
        Answer(
            200,
            {
                "elements": [
                    {"id": "urn:li:share:1", "commentary": "Other", "createdAt": begun},
                    {"id": "urn:li:share:2", "commentary": "Hello (1)", "createdAt": begun, "content": {"media": {}}},
                    {"id": "urn:li:share:3", "commentary": "Hello \\(1\\)", "createdAt": begun - 3_600_000},
                    {"id": "urn:li:share:4", "commentary": "Hello \\(1\\)", "createdAt": begun + 500},
                ]
            },
        )
    )
    found = await reconcile(server, journal, http, reads=True)
    assert found.posted_id == "urn:li:share:4"
    assert server.last.query == {"q": "author", "author": "urn:li:person:1001", "count": "20", "sortBy": "CREATED"}
    assert (server.last.method, server.last.headers["x-restli-method"]) == ("GET", "FINDER")


@pytest.mark.parametrize(("asked", "outcome"), [(0, Undecided()), (1, NotPublished())])
async def test_reconcile_when_finder_shows_nothing_then_decides_at_the_second_look(
    server: Scripted, journal: Journal, http: HttpClient, asked: int, outcome: object
) -> None:
    server.will(Answer(200, {"elements": []}))
    assert await reconcile(server, journal, http, reads=True, asked=asked) == outcome


@pytest.mark.parametrize("answer", [Answer(200, {}), Answer(503), Answer(401)])
async def test_reconcile_when_finder_fails_for_now_then_raises(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer
) -> None:
    server.will(answer)
    with pytest.raises(PlatformError) as caught:
        await reconcile(server, journal, http, reads=True)
    assert caught.value.retry is not Retry.NEVER


async def test_reconcile_when_finder_is_refused_then_sends_the_body_again(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(403), CREATED)
    assert (await reconcile(server, journal, http, reads=True)).posted_id == "urn:li:share:7"


async def test_reconcile_when_repeat_is_accepted_then_that_is_the_post(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(CREATED)
    assert (await reconcile(server, journal, http)).posted_id == "urn:li:share:7"
    assert server.last.body.decode() == BODY


async def test_reconcile_when_repeat_is_a_duplicate_then_takes_the_named_post(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(DUPLICATE)
    assert (await reconcile(server, journal, http)).posted_id == "urn:li:share:55"


async def test_reconcile_when_repeat_is_refused_for_its_content_then_was_not_published(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(input_error(422, "INVALID_VALUE_FOR_FIELD"))
    assert await reconcile(server, journal, http) == NotPublished()


@pytest.mark.parametrize("answer", [Answer(503), Answer(429), Answer(401), Answer(drops=True)])
async def test_reconcile_when_repeat_fails_then_raises(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer
) -> None:
    server.will(answer)
    with pytest.raises(PlatformError) as caught:
        await reconcile(server, journal, http)
    assert caught.value.retry is not Retry.NEVER


async def test_reconcile_when_too_late_for_a_repeat_then_can_never_say(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    assert await reconcile(server, journal, http, after=timedelta(minutes=8)) == Undecided(never=True)
    assert server.seen == []


async def test_identify_when_app_has_openid_then_reads_userinfo(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, {"sub": "AbC", "name": "Ann Lee", "picture": "https://p/a.jpg"}))
    credentials = {"access_token": "t", "scope": "openid,profile,r_member_social"}
    identity = await CONNECTOR.identify(make_account(server.url, credentials=credentials), http)
    assert (identity.id, identity.username, identity.profile_url) == ("AbC", "Ann Lee", None)
    assert identity.facts["permissions"] == ["openid", "profile", "r_member_social"]


async def test_identify_when_app_has_no_openid_then_reads_the_profile(server: Scripted, http: HttpClient) -> None:
    profile = {"id": "AbC", "localizedFirstName": "Ann", "localizedLastName": "Lee", "vanityName": "annlee"}
    server.will(Answer(403), Answer(200, profile))
    identity = await CONNECTOR.identify(make_account(server.url), http)
    assert (identity.id, identity.username, identity.display_name) == ("AbC", "annlee", "Ann Lee")
    assert identity.profile_url == "https://www.linkedin.com/in/annlee"
    assert [seen.path for seen in server.seen] == ["/v2/userinfo", "/v2/me"]


async def test_identify_when_token_is_refused_then_asks_for_a_refresh(server: Scripted, http: HttpClient) -> None:
    server.will(plain_error(401, "REVOKED_ACCESS_TOKEN", number=65601))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.identify(make_account(server.url), http)
    assert (caught.value.code, caught.value.retry) == (AUTH, Retry.REFRESH)


def test_classify_when_nobody_knows_the_time_of_a_daily_limit_then_waits_a_little() -> None:
    response = Response(429, {}, b'{"message":"throttle MEMBER DAY limit"}')
    assert classify(response, make_account("")).wait == timedelta(minutes=5)


async def test_identify_when_answer_names_nobody_then_fails(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, text="<html>"))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.identify(make_account(server.url), http)
    assert caught.value.code is UNKNOWN


async def test_connect_when_app_is_known_then_notes_scopes_and_end(server: Scripted, http: HttpClient) -> None:
    ends = datetime(2026, 7, 1, tzinfo=UTC)
    told = {"active": True, "scope": "openid,w_member_social", "expires_at": int(ends.timestamp())}
    server.will(Answer(200, told), Answer(200, {"sub": "AbC", "name": "Ann"}))
    connected = await CONNECTOR.connect(server.url, {"access_token": "t1 "}, App("id", "secret"), http)
    assert connected.grant.expires_at == ends
    assert connected.identity.permissions == ("openid", "w_member_social")
    assert server.seen[0].path == "/oauth/v2/introspectToken"
    assert server.seen[0].form() == {"token": "t1", "client_id": "id", "client_secret": "secret"}


async def test_connect_when_introspection_is_refused_then_does_without(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(401), Answer(200, {"sub": "AbC", "name": "Ann"}))
    given = {"access_token": "t1", "scope": "openid"}
    connected = await CONNECTOR.connect(server.url, given, App("id", "secret"), http)
    assert (connected.identity.permissions, connected.grant.expires_at) == (("openid",), None)


async def test_connect_when_no_app_is_known_then_only_asks_whose_token_it_is(
    server: Scripted, http: HttpClient
) -> None:
    server.will(Answer(200, {"sub": "AbC", "name": "Ann"}))
    connected = await CONNECTOR.connect(server.url, {"access_token": "t1"}, App(), http)
    assert (connected.identity.id, connected.grant.expires_at, len(server.seen)) == ("AbC", None, 1)


async def test_refresh_when_granted_then_keeps_the_refresh_token(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, {"access_token": "new", "expires_in": 5_184_000, "scope": "openid"}))
    grant = await CONNECTOR.refresh(make_account(server.url), App("id", "secret"), http)
    assert grant.credentials == {"access_token": "new", "refresh_token": "canary-refresh", "scope": "openid"}
    assert grant.expires_at == datetime(2026, 7, 3, 12, 0, tzinfo=UTC)
    assert server.last.path == "/oauth/v2/accessToken"
    assert server.last.form()["client_secret"] == "secret"


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_request"])
async def test_refresh_when_refused_then_connection_is_over(server: Scripted, http: HttpClient, error: str) -> None:
    server.will(Answer(400, {"error": error, "error_description": "The refresh token canary-refresh is revoked"}))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(make_account(server.url), App("id", "secret"), http)
    assert (caught.value.code, caught.value.retry, caught.value.scope) == (AUTH, Retry.NEVER, Scope.CONNECTION)
    assert "canary" not in f"{caught.value.message}{caught.value.raw}"


async def test_refresh_when_there_is_no_refresh_token_then_connection_is_over(
    server: Scripted, http: HttpClient
) -> None:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(make_account(server.url, credentials={"access_token": "a"}), App(), http)
    assert (caught.value.code, caught.value.retry) == (AUTH, Retry.NEVER)


def test_sandbox_credentials_when_asked_then_name_the_account() -> None:
    assert CONNECTOR.sandbox_credentials("Tz-9") == {"access_token": "sandbox-Tz-9"}
