from datetime import datetime, timedelta
from typing import Any

import pytest

from postpost.outgoing import HttpClient
from postpost.platforms.base import (
    Account,
    App,
    ErrorCode,
    Http,
    Intent,
    Json,
    NotPublished,
    PlatformError,
    Published,
    Retry,
    Scope,
    Undecided,
)
from postpost.platforms.mastodon import CONNECTOR, account_id, instance_facts
from tests.platforms.journal import NOON, Journal, make_account, make_post
from tests.platforms.scripted import Answer, Scripted

AUTH, CONTENT, LIMITED = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT, ErrorCode.RATE_LIMITED
SERVER, UNKNOWN, TOO_LARGE = ErrorCode.PLATFORM_SERVER_ERROR, ErrorCode.UNKNOWN_ERROR, ErrorCode.CONTENT_TOO_LARGE

NEWEST = Answer(200, [{"id": "90"}])
VERIFIED = {"id": "1001", "username": "ann", "acct": "ann", "display_name": "Ann", "url": "https://m.test/@ann"}


def created(status_id: str = "91") -> Answer:
    return Answer(200, {"id": status_id, "url": f"https://m.test/@ann/{status_id}"})


def account(server: Scripted, **changes: Any) -> Account:
    return make_account(server.url, **({"credentials": {"access_token": "canary-access"}} | changes))


def refused(status: int, error: str, **headers: str) -> Answer:
    return Answer(status, {"error": error}, headers={name.replace("_", "-"): value for name, value in headers.items()})


def listed(status_id: str, **changes: Json) -> dict[str, Json]:
    status = {
        "id": status_id,
        "created_at": NOON.isoformat().replace("+00:00", "Z"),
        "in_reply_to_id": None,
        "media_attachments": [],
        "content": "<p>Hello &amp; <a href='https://e.org'>e.org</a></p>",
        "url": f"https://m.test/@ann/{status_id}",
    }
    return status | changes


def source(text: str, warning: str = "") -> Answer:
    return Answer(200, {"id": "x", "text": text, "spoiler_text": warning})


async def failed_publish(server: Scripted, journal: Journal, http: Http) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    return caught.value


async def reconcile(
    server: Scripted,
    journal: Journal,
    http: Http,
    *,
    text: str = "Hello",
    parent: str | None = None,
    settings: dict[str, Json] | None = None,
) -> Any:
    journal.stored.setdefault("newest", {"since_id": "90"})
    post = make_post(account(server), text, settings=settings)
    return await CONNECTOR.reconcile(post, Intent(0, {"text": text, "parent": parent}, NOON), journal, http)


async def test_publish_when_accepted_then_keeps_id_and_address(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(NEWEST, created())
    await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    assert journal.published[0] == Published("91", "https://m.test/@ann/91")
    assert (server.last.method, server.last.path) == ("POST", "/api/v1/statuses")
    assert server.last.json() == {"status": "Hello", "visibility": "public"}
    assert server.last.headers["idempotency-key"] == "postpost-6650a1b2c3d4e5f601234567-0"
    assert server.last.headers["authorization"] == "Bearer canary-access"


async def test_publish_when_server_gives_no_address_then_takes_the_uri(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(NEWEST, Answer(200, {"id": "91", "url": None, "uri": "https://m.test/s/91"}))
    await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    assert journal.published[0].url == "https://m.test/s/91"


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"visibility": "unlisted", "language": "de"}, {"visibility": "unlisted", "language": "de"}),
        ({"spoilerText": "Beware"}, {"visibility": "public", "spoiler_text": "Beware", "sensitive": True}),
        ({"sensitive": True, "spoilerText": ""}, {"visibility": "public", "sensitive": True}),
        ({"sensitive": False, "visibility": "private"}, {"visibility": "private"}),
    ],
)
async def test_publish_when_settings_are_given_then_sends_them_under_mastodons_names(
    server: Scripted, journal: Journal, http: HttpClient, settings: dict[str, Json], fields: dict[str, Json]
) -> None:
    server.will(NEWEST, created())
    await CONNECTOR.publish(make_post(account(server), "Hello", settings=settings), journal, http)
    assert server.last.json() == {"status": "Hello", **fields}


async def test_publish_when_chain_then_each_part_answers_the_one_before(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(NEWEST, created("91"), created("92"), created("93"))
    await CONNECTOR.publish(make_post(account(server), "a", "b", "c"), journal, http)
    sent = server.seen[1:]
    assert [seen.json().get("in_reply_to_id") for seen in sent] == [None, "91", "92"]
    assert [seen.headers["idempotency-key"][-2:] for seen in sent] == ["-0", "-1", "-2"]


async def test_publish_when_account_is_on_another_instance_then_asks_by_its_own_id(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(NEWEST, created())
    await CONNECTOR.publish(make_post(account(server, id="10987.fosstodon.org")), journal, http)
    assert server.seen[0].path == "/api/v1/accounts/10987/statuses"
    assert server.seen[0].query == {"limit": "1", "exclude_reblogs": "true"}


async def test_publish_when_tried_again_then_newest_status_and_key_stay(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(NEWEST, Answer(503))
    await failed_publish(server, journal, http)
    server.will(created())
    await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    assert journal.stored["newest"] == {"since_id": "90"}
    assert len({seen.headers["idempotency-key"] for seen in server.seen[1:]}) == 1


@pytest.mark.parametrize("listing", [Answer(200, []), refused(403, "This action is outside the authorized scopes")])
async def test_publish_when_no_newest_status_is_known_then_publishes_all_the_same(
    server: Scripted, journal: Journal, http: HttpClient, listing: Answer
) -> None:
    server.will(listing, created())
    await CONNECTOR.publish(make_post(account(server), "Hello"), journal, http)
    assert journal.stored["newest"] == {"since_id": None}


@pytest.mark.parametrize("listing", [Answer(503), Answer(200, text="<html>"), Answer(401)])
async def test_publish_when_newest_status_cannot_be_had_now_then_nothing_is_sent(
    server: Scripted, journal: Journal, http: HttpClient, listing: Answer
) -> None:
    server.will(listing)
    error = await failed_publish(server, journal, http)
    assert (error.retry is not Retry.NEVER, len(server.seen)) == (True, 1)


@pytest.mark.parametrize("answer", [Answer(200, {}), Answer(200, text="<html>")])
async def test_publish_when_success_has_no_id_then_proves_nothing(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer
) -> None:
    server.will(NEWEST, answer)
    error = await failed_publish(server, journal, http)
    assert (error.code, error.refused) == (UNKNOWN, False)


@pytest.mark.parametrize(
    ("answer", "code", "retry", "scope"),
    [
        (refused(401, "The access token is invalid"), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (Answer(400, text="Invalid Bearer token"), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (refused(403, "This action is outside the authorized scopes"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(403, "Your login is currently disabled"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(403, "Your login is missing a confirmed e-mail address"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(403, "Your login is currently pending approval"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (refused(403, "This action is not allowed"), CONTENT, Retry.NEVER, Scope.POST),
        (refused(403, "Etwas anderes"), UNKNOWN, Retry.NEVER, Scope.POST),
        (refused(404, "Record not found"), CONTENT, Retry.NEVER, Scope.POST),
        (refused(410, "Gone"), ErrorCode.NETWORK_ERROR, Retry.BACK_OFF, Scope.POST),
        (refused(422, "Validation failed: Text is too long"), CONTENT, Retry.NEVER, Scope.POST),
        (
            refused(422, "Cannot attach files that have not finished processing. Try again in a moment!"),
            SERVER,
            Retry.BACK_OFF,
            Scope.POST,
        ),
        (refused(422, "This method requires an authenticated user"), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (Answer(413, text="<html>"), TOO_LARGE, Retry.NEVER, Scope.POST),
        (refused(429, "Too many requests"), LIMITED, Retry.WAIT, Scope.CONNECTION),
        (refused(503, "There was a temporary problem serving your request"), SERVER, Retry.BACK_OFF, Scope.POST),
        (Answer(500), SERVER, Retry.BACK_OFF, Scope.POST),
        (Answer(522, text="<html>"), SERVER, Retry.BACK_OFF, Scope.POST),
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
    server.will(NEWEST, answer)
    error = await failed_publish(server, journal, http)
    assert (error.code, error.retry, error.scope) == (code, retry, scope)
    assert (error.status, error.refused) == (answer.status, answer.status < 500)


@pytest.mark.parametrize(
    ("verified", "code", "retry"),
    [
        (Answer(400, text="Bad token"), AUTH, Retry.REFRESH),
        (Answer(401), AUTH, Retry.REFRESH),
        (Answer(200, VERIFIED), CONTENT, Retry.NEVER),
        (Answer(503), CONTENT, Retry.NEVER),
    ],
)
async def test_publish_when_refused_with_400_then_identity_call_tells_token_from_content(
    server: Scripted, journal: Journal, http: HttpClient, verified: Answer, code: ErrorCode, retry: Retry
) -> None:
    server.will(NEWEST, Answer(400, text="Bad"), verified)
    error = await failed_publish(server, journal, http)
    assert (error.code, error.retry, error.refused) == (code, retry, True)


async def test_publish_when_identity_call_breaks_after_a_400_then_content_is_at_fault(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    # A broken GET on a kept connection is repeated once by the client, hence twice.
    server.will(NEWEST, Answer(400, text="Bad"), Answer(drops=True), Answer(drops=True))
    assert (await failed_publish(server, journal, http)).code is CONTENT


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, timedelta(minutes=5)),
        ({"x_ratelimit_reset": "2026-05-04T12:03:00.500000Z"}, timedelta(minutes=3, seconds=0.5)),
        ({"x_ratelimit_reset": "1777896060"}, timedelta(minutes=1)),
        ({"x_ratelimit_reset": "2026-05-04T12:03:00Z", "retry_after": "9"}, timedelta(seconds=9)),
        ({"x_ratelimit_reset": "0"}, timedelta(minutes=5)),
        ({"x_ratelimit_reset": "whenever"}, timedelta(minutes=5)),
        ({"x_ratelimit_reset": "9" * 30}, timedelta(minutes=5)),
        ({"retry_after": "9" * 30}, timedelta(days=31)),
    ],
)
async def test_publish_when_rate_limited_then_waits_as_told(
    server: Scripted, journal: Journal, http: HttpClient, headers: dict[str, str], wait: timedelta
) -> None:
    server.will(NEWEST, refused(429, "Too many requests", **headers))
    assert (await failed_publish(server, journal, http)).wait == wait


async def test_publish_when_server_shows_the_token_then_it_is_taken_out(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(NEWEST, refused(422, "Bad canary-access"))
    error = await failed_publish(server, journal, http)
    assert (error.message, error.raw) == ("Bad [removed]", '{"error":"Bad [removed]"}')


async def test_reconcile_when_same_text_stands_then_is_published(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(200, [listed("93"), listed("92")]), source("Other"), source("Hello"))
    assert await reconcile(server, journal, http) == Published("93", "https://m.test/@ann/93")
    assert server.seen[0].query == {"limit": "40", "since_id": "90", "exclude_reblogs": "true"}
    assert [seen.path for seen in server.seen[1:]] == ["/api/v1/statuses/92/source", "/api/v1/statuses/93/source"]


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": (NOON - timedelta(seconds=6)).isoformat()},
        {"in_reply_to_id": "80"},
        {"media_attachments": [{"id": "1"}]},
    ],
)
async def test_reconcile_when_status_differs_then_its_text_is_not_asked_for(
    server: Scripted, journal: Journal, http: HttpClient, changes: dict[str, Json]
) -> None:
    server.will(Answer(200, [listed("91", **changes)]))
    assert await reconcile(server, journal, http) == NotPublished()
    assert len(server.seen) == 1


async def test_reconcile_when_warning_differs_then_is_another_status(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    settings: dict[str, Json] = {"spoilerText": "Beware"}
    server.will(Answer(200, [listed("92"), listed("91")]), source("Hello"), source("Hello", "Beware"))
    assert (await reconcile(server, journal, http, settings=settings)).posted_id == "92"


async def test_reconcile_when_part_answers_another_then_parent_decides(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(200, [listed("92", in_reply_to_id="81"), listed("91", in_reply_to_id="80")]), source("Hello"))
    assert (await reconcile(server, journal, http, parent="81")).posted_id == "92"


@pytest.mark.parametrize(("text", "found"), [("Hello & e.org", True), ("Hello, e.net", False)])
async def test_reconcile_when_server_has_no_sources_then_compares_letters(
    server: Scripted, journal: Journal, http: HttpClient, text: str, found: bool
) -> None:
    server.will(Answer(200, [listed("91")]), Answer(404))
    outcome = await reconcile(server, journal, http, text=text)
    assert (outcome == NotPublished()) is not found


async def test_reconcile_when_no_newest_status_is_known_then_lists_without_a_start(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(200, []))
    intent = Intent(0, {"text": "Hello", "parent": None}, NOON)
    assert await CONNECTOR.reconcile(make_post(account(server)), intent, journal, http) == NotPublished()
    assert "since_id" not in server.last.query


async def test_reconcile_when_token_may_not_read_then_can_never_say(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(403))
    assert await reconcile(server, journal, http) == Undecided(never=True)


@pytest.mark.parametrize(
    "answers", [(Answer(503),), (Answer(200, {}),), (Answer(401),), (Answer(200, [listed("91")]), Answer(503))]
)
async def test_reconcile_when_server_cannot_say_now_then_raises(
    server: Scripted, journal: Journal, http: HttpClient, answers: tuple[Answer, ...]
) -> None:
    server.will(*answers)
    with pytest.raises(PlatformError) as caught:
        await reconcile(server, journal, http)
    assert caught.value.retry is not Retry.NEVER


async def test_identify_when_token_is_good_then_says_whose_it_is_and_the_limits(
    server: Scripted, http: HttpClient
) -> None:
    instance = {"version": "4.5.0", "configuration": {"statuses": {"max_characters": 1000}}}
    server.will(Answer(200, VERIFIED), Answer(200, instance))
    identity = await CONNECTOR.identify(account(server), http)
    assert (identity.id, identity.username, identity.profile_url) == ("1001", "ann", "https://m.test/@ann")
    assert identity.facts == {"permissions": [], "max_characters": 1000, "version": "4.5.0"}


async def test_identify_when_instance_is_old_then_reads_the_older_description(
    server: Scripted, http: HttpClient
) -> None:
    server.will(Answer(200, VERIFIED), Answer(404), Answer(200, {"max_toot_chars": 5000}))
    assert (await CONNECTOR.identify(account(server), http)).facts["max_characters"] == 5000
    assert server.last.path == "/api/v1/instance"


@pytest.mark.parametrize("answers", [(Answer(404), Answer(404)), (Answer(drops=True), Answer(drops=True))])
async def test_identify_when_instance_does_not_describe_itself_then_does_without(
    server: Scripted, http: HttpClient, answers: tuple[Answer, ...]
) -> None:
    server.will(Answer(200, VERIFIED), *answers)
    assert (await CONNECTOR.identify(account(server), http)).facts == {"permissions": []}


@pytest.mark.parametrize(
    ("answer", "code", "retry"),
    [
        (Answer(401), AUTH, Retry.REFRESH),
        (Answer(400, text="No"), AUTH, Retry.REFRESH),
        (Answer(200, text="<html>"), UNKNOWN, Retry.BACK_OFF),
        (Answer(503), SERVER, Retry.BACK_OFF),
    ],
)
async def test_identify_when_token_is_of_no_use_then_says_why(
    server: Scripted, http: HttpClient, answer: Answer, code: ErrorCode, retry: Retry
) -> None:
    server.will(answer)
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.identify(account(server), http)
    assert (caught.value.code, caught.value.retry) == (code, retry)


async def test_connect_when_token_is_good_then_keeps_it_trimmed(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, VERIFIED), Answer(404), Answer(404))
    connected = await CONNECTOR.connect(server.url, {"access_token": " t1\n"}, App(), http)
    assert connected.grant.credentials == {"access_token": "t1"}
    assert connected.identity.id == "1001"


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://mastodon.social", "10987"),
        ("https://Fosstodon.org", "10987.fosstodon.org"),
        ("http://127.0.0.1:8000/mastodon", "10987"),
    ],
)
def test_account_id_when_instance_is_not_the_home_one_then_carries_its_host(base_url: str, expected: str) -> None:
    assert account_id(base_url, "10987") == expected


def test_instance_facts_when_limits_are_given_then_keeps_numbers_only() -> None:
    configuration = {
        "statuses": {"max_characters": 500, "max_media_attachments": "4", "characters_reserved_per_url": 23},
        "media_attachments": {"video_size_limit": 0, "image_size_limit": None},
    }
    assert instance_facts({"configuration": configuration}) == {
        "max_characters": 500,
        "characters_reserved_per_url": 23,
        "video_size_limit": 0,
    }


async def test_refresh_when_there_is_no_refresh_token_then_connection_is_over(
    server: Scripted, http: HttpClient
) -> None:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(account(server), App(), http)
    assert (caught.value.code, caught.value.retry, server.seen) == (AUTH, Retry.NEVER, [])


async def test_refresh_when_instance_renews_tokens_then_returns_the_new_pair(
    server: Scripted, http: HttpClient
) -> None:
    server.will(Answer(200, {"access_token": "a2", "refresh_token": "r2", "expires_in": 60}))
    grant = await CONNECTOR.refresh(make_account(server.url), App("id", "secret"), http)
    assert grant.credentials == {"access_token": "a2", "refresh_token": "r2"}
    assert grant.expires_at == datetime.fromisoformat("2026-05-04T12:01:00Z")
    assert server.last.path == "/oauth/token"


@pytest.mark.parametrize("name", ["invalid_grant", "unsupported_grant_type"])
async def test_refresh_when_instance_refuses_then_connection_is_over(
    server: Scripted, http: HttpClient, name: str
) -> None:
    server.will(Answer(400, {"error": name, "error_description": "canary-refresh is revoked"}))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(make_account(server.url), App("id", "secret"), http)
    assert (caught.value.code, caught.value.retry) == (AUTH, Retry.NEVER)
    assert "canary" not in f"{caught.value.message}{caught.value.raw}"


def test_sandbox_credentials_when_asked_then_name_the_account() -> None:
    assert CONNECTOR.sandbox_credentials("10987.fosstodon.org") == {"access_token": "sandbox-10987.fosstodon.org"}
