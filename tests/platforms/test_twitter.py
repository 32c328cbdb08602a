import base64
from datetime import UTC, datetime, timedelta
from typing import Any

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
    Retry,
    Scope,
    Undecided,
)
from postpost.platforms.twitter import CONNECTOR, TIMELINE_PAGES, normal_text, shown_text
from tests.platforms.journal import NOON, Journal, make_account, make_post
from tests.platforms.scripted import Answer, Scripted

AUTH, CONTENT, LIMITED = ErrorCode.PLATFORM_AUTH_EXPIRED, ErrorCode.INVALID_CONTENT, ErrorCode.RATE_LIMITED
DUPLICATE = Answer(403, {"detail": "You are not allowed to create a Tweet with duplicate content.", "status": 403})
RESET = str(int(datetime(2026, 5, 4, 12, 10, tzinfo=UTC).timestamp()))


def created(post_id: str) -> Answer:
    return Answer(201, {"data": {"id": post_id, "text": "whatever"}})


def timeline(*posts: dict[str, Any], next_token: str | None = None) -> Answer:
    meta = {"result_count": len(posts)} | ({"next_token": next_token} if next_token else {})
    return Answer(200, {"meta": meta} | ({"data": list(posts)} if posts else {}))


async def publish(server: Scripted, journal: Journal, http: Http, *parts: str) -> None:
    await CONNECTOR.publish(make_post(make_account(server.url), *parts), journal, http)


async def failed_publish(server: Scripted, journal: Journal, http: Http) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await publish(server, journal, http, "Hello")
    return caught.value


async def reconcile(
    server: Scripted, journal: Journal, http: Http, text: str = "Hello", parent: str | None = None, asked: int = 0
) -> Any:
    intent = Intent(0, {"text": text, "parent": parent}, NOON, asked)
    return await CONNECTOR.reconcile(make_post(make_account(server.url), text), intent, journal, http)


async def test_publish_when_accepted_then_keeps_id_and_address(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(created("77"))
    await publish(server, journal, http, "Hello é")
    assert journal.published == {0: Published("77", "https://x.com/ann/status/77")}
    assert (server.last.method, server.last.path, server.last.json()) == ("POST", "/2/tweets", {"text": "Hello é"})
    assert server.last.headers["authorization"] == "Bearer canary-access"


async def test_publish_when_thread_then_each_part_answers_the_one_before(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(created("1"), created("2"), created("3"))
    await publish(server, journal, http, "a", "b", "c")
    assert [seen.json() for seen in server.seen] == [
        {"text": "a"},
        {"text": "b", "reply": {"in_reply_to_tweet_id": "1"}},
        {"text": "c", "reply": {"in_reply_to_tweet_id": "2"}},
    ]


async def test_publish_when_first_part_is_out_then_goes_on_with_the_second(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    journal.published[0] = Published("1")
    server.will(created("2"))
    await publish(server, journal, http, "a", "b")
    assert [seen.json()["reply"]["in_reply_to_tweet_id"] for seen in server.seen] == ["1"]


async def test_publish_when_username_is_unknown_then_address_has_none(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(created("7"))
    await CONNECTOR.publish(make_post(make_account(server.url, username="")), journal, http)
    assert journal.published[0].url == "https://x.com/i/status/7"


@pytest.mark.parametrize("answer", [Answer(201, {"data": {}}), Answer(200, text="<html>"), Answer(201, [])])
async def test_publish_when_success_has_no_id_then_proves_nothing(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer
) -> None:
    server.will(answer)
    error = await failed_publish(server, journal, http)
    assert (error.code, error.refused, journal.intent is not None) == (ErrorCode.UNKNOWN_ERROR, False, True)


async def test_publish_when_there_is_no_token_then_asks_for_a_refresh(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.publish(make_post(make_account(server.url, credentials={})), journal, http)
    assert (caught.value.retry, caught.value.refused, server.seen) == (Retry.REFRESH, True, [])


def problem(status: int, detail: str, kind: str = "about:blank", title: str = "Forbidden") -> Answer:
    return Answer(status, {"type": kind, "title": title, "detail": detail, "status": status})


def numbered(status: int, code: int, message: str = "Words") -> Answer:
    return Answer(status, {"errors": [{"code": code, "message": message}]})


@pytest.mark.parametrize(
    ("answer", "code", "retry", "scope"),
    [
        (problem(401, "Unauthorized"), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (numbered(401, 89), AUTH, Retry.REFRESH, Scope.CONNECTION),
        (DUPLICATE, CONTENT, Retry.NEVER, Scope.POST),
        (numbered(403, 187), CONTENT, Retry.NEVER, Scope.POST),
        (numbered(403, 64), AUTH, Retry.NEVER, Scope.CONNECTION),
        (numbered(403, 326), AUTH, Retry.NEVER, Scope.CONNECTION),
        (numbered(403, 63), AUTH, Retry.NEVER, Scope.CONNECTION),
        (numbered(403, 344), LIMITED, Retry.WAIT, Scope.CONNECTION),
        (numbered(403, 185), LIMITED, Retry.WAIT, Scope.CONNECTION),
        (numbered(403, 385), ErrorCode.PLATFORM_SERVER_ERROR, Retry.BACK_OFF, Scope.POST),
        (
            problem(403, "You attempted to reply to a Tweet that is deleted or not visible to you."),
            ErrorCode.PLATFORM_SERVER_ERROR,
            Retry.BACK_OFF,
            Scope.POST,
        ),
        (numbered(403, 433), CONTENT, Retry.NEVER, Scope.POST),
        (problem(403, "Reply to this conversation is not allowed because ..."), CONTENT, Retry.NEVER, Scope.POST),
        (
            problem(403, "x", "https://api.twitter.com/2/problems/oauth2-permissions"),
            AUTH,
            Retry.NEVER,
            Scope.CONNECTION,
        ),
        (problem(403, "x", title="Unsupported Authentication"), AUTH, Retry.NEVER, Scope.CONNECTION),
        (
            problem(403, "This user is not allowed to post a video longer than 2 minutes"),
            ErrorCode.CONTENT_TOO_LARGE,
            Retry.NEVER,
            Scope.POST,
        ),
        (problem(403, "Your post contains more than one cashtag"), CONTENT, Retry.NEVER, Scope.POST),
        (problem(403, "Invalid URL"), CONTENT, Retry.NEVER, Scope.POST),
        (problem(403, "You are not permitted to perform this action."), CONTENT, Retry.NEVER, Scope.POST),
        (
            problem(403, "x", "https://api.x.com/2/problems/client-forbidden"),
            ErrorCode.UNKNOWN_ERROR,
            Retry.NEVER,
            Scope.APP,
        ),
        (problem(403, "Something new"), ErrorCode.UNKNOWN_ERROR, Retry.NEVER, Scope.POST),
        (problem(400, "x", "https://api.x.com/2/problems/invalid-request"), CONTENT, Retry.NEVER, Scope.POST),
        (numbered(400, 186), CONTENT, Retry.NEVER, Scope.POST),
        (problem(402, "x", title="CreditsDepleted"), ErrorCode.UNKNOWN_ERROR, Retry.NEVER, Scope.APP),
        (Answer(413), ErrorCode.CONTENT_TOO_LARGE, Retry.NEVER, Scope.POST),
        (problem(429, "Too Many Requests"), LIMITED, Retry.WAIT, Scope.CONNECTION),
        (problem(429, "x", title="UsageCapExceeded"), LIMITED, Retry.WAIT, Scope.APP),
        (problem(429, "x", "https://api.x.com/2/problems/usage-capped"), LIMITED, Retry.WAIT, Scope.APP),
        (Answer(500), ErrorCode.PLATFORM_SERVER_ERROR, Retry.BACK_OFF, Scope.POST),
        (problem(503, "Service Unavailable"), ErrorCode.PLATFORM_SERVER_ERROR, Retry.BACK_OFF, Scope.POST),
        (Answer(504, text="<html>"), ErrorCode.PLATFORM_SERVER_ERROR, Retry.BACK_OFF, Scope.POST),
        (Answer(404), ErrorCode.UNKNOWN_ERROR, Retry.NEVER, Scope.POST),
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
    ("answer", "message"),
    [
        (problem(400, "Your Tweet text is too long."), "Your Tweet text is too long."),
        (numbered(403, 326, "To protect our users ..."), "To protect our users ..."),
        (Answer(400, {"errors": [{"detail": "In a list"}]}), "In a list"),
        (Answer(402), "The operator's X account has no credits left"),
        (Answer(503), "The platform answered with an error of its own"),
    ],
)
async def test_publish_when_refused_then_message_is_the_platforms_own(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer, message: str
) -> None:
    server.will(answer)
    assert (await failed_publish(server, journal, http)).message == message


@pytest.mark.parametrize(
    ("headers", "wait", "scope"),
    [
        ({}, timedelta(minutes=15), Scope.CONNECTION),
        (
            {"x-rate-limit-remaining": "0", "x-rate-limit-reset": RESET},
            timedelta(minutes=10, seconds=1),
            Scope.CONNECTION,
        ),
        (
            {
                "x-rate-limit-remaining": "9",
                "x-rate-limit-reset": str(int(RESET) + 900),
                "x-app-limit-24hour-remaining": "0",
                "x-app-limit-24hour-reset": RESET,
            },
            timedelta(minutes=10, seconds=1),
            Scope.APP,
        ),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "soon"}, timedelta(minutes=15), Scope.CONNECTION),
    ],
)
async def test_publish_when_rate_limited_then_waits_for_the_exhausted_limit(
    server: Scripted, journal: Journal, http: HttpClient, headers: dict[str, str], wait: timedelta, scope: Scope
) -> None:
    server.will(Answer(429, {"title": "Too Many Requests"}, headers=headers))
    error = await failed_publish(server, journal, http)
    assert (error.wait, error.scope) == (wait, scope)


async def test_publish_when_daily_limit_is_reached_then_waits_three_hours_whatever_the_window_says(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    headers = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": RESET}
    server.will(Answer(403, {"errors": [{"code": 185, "message": "Words"}]}, headers=headers))
    assert (await failed_publish(server, journal, http)).wait == timedelta(hours=3)


async def test_publish_when_platform_shows_the_token_then_it_is_taken_out(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    text = "bad canary-access; Authorization: Bearer canary.other-1"
    server.will(Answer(403, {"detail": text, "access_token": "canary-third"}))
    error = await failed_publish(server, journal, http)
    assert "canary" not in f"{error.raw}{error.message}"
    assert error.message.startswith("bad [removed]; Authorization: Bearer [removed]")


async def test_publish_when_answer_is_long_then_raw_text_is_cut(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(500, text="x" * 5000))
    assert len((await failed_publish(server, journal, http)).raw or "") == 1000


async def test_publish_when_connection_breaks_then_leaves_an_intent(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(drops=True))
    error = await failed_publish(server, journal, http)
    assert (error.code, error.refused) == (ErrorCode.NETWORK_ERROR, False)
    assert journal.intent == Intent(0, {"text": "Hello", "parent": None}, NOON)


async def test_publish_when_first_attempt_is_a_duplicate_then_does_not_look_in_the_timeline(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(DUPLICATE)
    await failed_publish(server, journal, http)
    assert len(server.seen) == 1


async def test_publish_when_missed_part_is_a_duplicate_then_finds_it_in_the_timeline(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(timeline())
    await reconcile(server, journal, http, asked=1)
    server.will(DUPLICATE, timeline({"id": "5", "text": "Hello"}))
    await publish(server, journal, http, "Hello")
    assert journal.published[0].posted_id == "5"
    assert server.last.query["start_time"] == "2026-05-04T11:59:00Z"


@pytest.mark.parametrize("listing", [timeline(), Answer(402)])
async def test_publish_when_missed_part_is_a_duplicate_and_not_found_then_asks_the_user_to_check(
    server: Scripted, journal: Journal, http: HttpClient, listing: Answer
) -> None:
    server.will(timeline())
    await reconcile(server, journal, http, asked=1)
    server.will(DUPLICATE, listing)
    error = await failed_publish(server, journal, http)
    assert (error.code, error.refused) == (CONTENT, True)
    assert "check the account" in error.message


async def test_publish_when_timeline_of_a_duplicate_fails_for_now_then_is_tried_again(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(timeline())
    await reconcile(server, journal, http, asked=1)
    server.will(DUPLICATE, Answer(503))
    assert (await failed_publish(server, journal, http)).retry is Retry.BACK_OFF


async def test_reconcile_when_post_stands_in_the_timeline_then_is_published(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(timeline({"id": "8", "text": "Other"}, {"id": "9", "text": "Hello"}))
    assert await reconcile(server, journal, http) == Published("9", "https://x.com/ann/status/9")
    assert server.last.path == "/2/users/1001/tweets"
    assert server.last.query["exclude"] == "retweets"


@pytest.mark.parametrize("name", ["referenced_posts", "referenced_tweets"])
async def test_reconcile_when_part_answers_another_then_parent_decides(
    server: Scripted, journal: Journal, http: HttpClient, name: str
) -> None:
    def reply(post_id: str, parent: str) -> dict[str, Any]:
        return {"id": post_id, "text": "Hello", name: [{"type": "replied_to", "id": parent}]}

    server.will(timeline({"id": "1", "text": "Hello"}, reply("2", "40"), reply("3", "41")))
    found = await reconcile(server, journal, http, parent="41")
    assert found.posted_id == "3"


async def test_reconcile_when_same_text_has_media_then_is_another_post(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(timeline({"id": "1", "text": "Hello", "attachments": {"media_keys": ["3_1"]}}))
    assert await reconcile(server, journal, http) == Undecided()


async def test_reconcile_when_timeline_has_pages_then_reads_the_next(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(timeline({"id": "1", "text": "Other"}, next_token="t2"), timeline({"id": "2", "text": "Hello"}))
    assert (await reconcile(server, journal, http)).posted_id == "2"
    assert server.last.query["pagination_token"] == "t2"


async def test_reconcile_when_new_parameters_are_refused_then_uses_the_older_names(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(400, {"errors": [{"message": "post.fields"}]}), timeline({"id": "2", "text": "Hello"}))
    assert (await reconcile(server, journal, http)).posted_id == "2"
    assert "post.fields" in server.seen[0].query
    assert "referenced_tweets" in server.seen[1].query["tweet.fields"]


async def test_reconcile_when_not_found_at_first_then_is_undecided(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(timeline())
    assert await reconcile(server, journal, http, asked=0) == Undecided()


async def test_reconcile_when_not_found_again_then_is_not_published(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(timeline())
    assert await reconcile(server, journal, http, asked=1) == NotPublished()


async def test_reconcile_when_timeline_goes_on_without_end_then_stops_where_x_does(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(*(timeline({"id": "1", "text": "Other"}, next_token="more") for _ in range(TIMELINE_PAGES + 1)))
    assert await reconcile(server, journal, http, asked=1) == NotPublished()
    assert len(server.seen) == TIMELINE_PAGES


async def test_reconcile_when_both_dialects_are_refused_then_cannot_say(
    server: Scripted, journal: Journal, http: HttpClient
) -> None:
    server.will(Answer(400), Answer(400))
    with pytest.raises(PlatformError) as caught:
        await reconcile(server, journal, http)
    assert caught.value.status == 400


@pytest.mark.parametrize("status", [402, 403])
async def test_reconcile_when_listing_is_refused_then_can_never_say(
    server: Scripted, journal: Journal, http: HttpClient, status: int
) -> None:
    server.will(Answer(status))
    assert await reconcile(server, journal, http) == Undecided(never=True)


@pytest.mark.parametrize("answer", [Answer(200, text="<html>"), Answer(200, {}), Answer(503), Answer(429), Answer(401)])
async def test_reconcile_when_listing_fails_for_now_then_raises(
    server: Scripted, journal: Journal, http: HttpClient, answer: Answer
) -> None:
    server.will(answer)
    with pytest.raises(PlatformError) as caught:
        await reconcile(server, journal, http)
    assert caught.value.retry is not Retry.NEVER


@pytest.mark.parametrize(
    ("item", "written"),
    [
        ({"text": "a &lt;b&gt; &amp;amp; c"}, "a <b> &amp; c"),
        (
            {
                "text": "see https://t.co/x1 now",
                "entities": {"urls": [{"url": "https://t.co/x1", "expanded_url": "https://e.org/a?b=1&c=2"}]},
            },
            "see https://e.org/a?b=1&c=2 now",
        ),
        (
            {
                "text": "see https://t.co/x1",
                "entities": {"urls": [{"url": "https://t.co/x1", "expanded_url": "http://a.co"}]},
            },
            "see a.co",
        ),
        (
            {
                "text": "pic https://t.co/m1",
                "entities": {
                    "urls": [{"url": "https://t.co/m1", "media_key": "3_1", "expanded_url": "https://x.com/p"}]
                },
            },
            "pic",
        ),
        ({"text": "e\u0301 \n end"}, "é\n end  "),
        ({"text": "as is", "entities": {"urls": ["odd", {"display_url": "e.org"}]}}, "as is"),
    ],
)
def test_shown_text_when_normalised_then_equals_what_was_written(item: dict[str, Any], written: str) -> None:
    assert normal_text(shown_text(item)) == normal_text(written)


async def test_identify_when_token_is_good_then_says_whose_it_is(server: Scripted, http: HttpClient) -> None:
    data = {"id": "1001", "username": "ann", "name": "Ann", "profile_image_url": "https://p/a.jpg"}
    server.will(Answer(200, {"data": data | {"subscription_type": "None"}}))
    identity = await CONNECTOR.identify(make_account(server.url), http)
    assert (identity.id, identity.username, identity.display_name) == ("1001", "ann", "Ann")
    assert (identity.profile_image_url, identity.profile_url) == ("https://p/a.jpg", "https://x.com/ann")


async def test_identify_when_token_is_refused_then_asks_for_a_refresh(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(401, {"title": "Unauthorized"}))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.identify(make_account(server.url), http)
    assert (caught.value.code, caught.value.retry) == (AUTH, Retry.REFRESH)


async def test_identify_when_answer_names_nobody_then_fails(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, {"data": {"id": 7}}))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.identify(make_account(server.url), http)
    assert caught.value.code is ErrorCode.UNKNOWN_ERROR


async def test_connect_when_token_is_good_then_keeps_it_trimmed(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, {"data": {"id": "1001", "username": "ann"}}))
    given = {"access_token": " token-1\n", "refresh_token": "token-2", "scope": "tweet.read tweet.write"}
    connected = await CONNECTOR.connect(server.url, given, App(), http)
    assert connected.grant.credentials["access_token"] == "token-1"
    assert connected.identity.permissions == ("tweet.read", "tweet.write")


async def test_refresh_when_granted_then_returns_the_new_pair_and_its_end(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, {"access_token": "new-1", "refresh_token": "new-2", "expires_in": 7200}))
    grant = await CONNECTOR.refresh(make_account(server.url), App("id", "secret"), http)
    assert grant.credentials == {"access_token": "new-1", "refresh_token": "new-2"}
    assert grant.expires_at == datetime(2026, 5, 4, 14, 0, tzinfo=UTC)
    assert server.last.form() == {"grant_type": "refresh_token", "refresh_token": "canary-refresh"}
    assert server.last.headers["authorization"] == "Basic " + base64.b64encode(b"id:secret").decode()


async def test_refresh_when_app_is_public_then_names_it_in_the_body(server: Scripted, http: HttpClient) -> None:
    server.will(Answer(200, {"access_token": "new-1"}))
    grant = await CONNECTOR.refresh(make_account(server.url), App("id"), http)
    assert server.last.form()["client_id"] == "id"
    assert "authorization" not in server.last.headers
    assert grant.credentials["refresh_token"] == "canary-refresh"


@pytest.mark.parametrize(
    ("answer", "code", "retry", "scope"),
    [
        (
            Answer(400, {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}),
            AUTH,
            Retry.NEVER,
            Scope.CONNECTION,
        ),
        (Answer(400, {"error": "invalid_grant"}), AUTH, Retry.NEVER, Scope.CONNECTION),
        (
            Answer(400, {"error": "invalid_request", "error_description": "Missing required parameter [client_id]."}),
            ErrorCode.UNKNOWN_ERROR,
            Retry.NEVER,
            Scope.APP,
        ),
        (Answer(401, {"error": "unauthorized_client"}), ErrorCode.UNKNOWN_ERROR, Retry.NEVER, Scope.APP),
        (Answer(429), LIMITED, Retry.WAIT, Scope.CONNECTION),
        (Answer(503), ErrorCode.PLATFORM_SERVER_ERROR, Retry.BACK_OFF, Scope.POST),
        (Answer(200, text="<html>"), ErrorCode.UNKNOWN_ERROR, Retry.BACK_OFF, Scope.POST),
        (Answer(drops=True), ErrorCode.NETWORK_ERROR, Retry.BACK_OFF, Scope.POST),
    ],
)
async def test_refresh_when_it_fails_then_only_a_refused_token_ends_the_connection(
    server: Scripted, http: HttpClient, answer: Answer, code: ErrorCode, retry: Retry, scope: Scope
) -> None:
    server.will(answer)
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(make_account(server.url), App("id", "secret"), http)
    assert (caught.value.code, caught.value.retry, caught.value.scope) == (code, retry, scope)


async def test_refresh_when_answer_lacks_the_token_then_its_text_is_not_kept(
    server: Scripted, http: HttpClient
) -> None:
    server.will(Answer(200, {"token": "canary-new"}))
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(make_account(server.url), App("id", "secret"), http)
    assert caught.value.raw is None


async def test_refresh_when_there_is_no_refresh_token_then_connection_is_over(
    server: Scripted, http: HttpClient
) -> None:
    with pytest.raises(PlatformError) as caught:
        await CONNECTOR.refresh(make_account(server.url, credentials={"access_token": "a"}), App(), http)
    assert (caught.value.code, caught.value.retry, server.seen) == (AUTH, Retry.NEVER, [])


def test_sandbox_credentials_when_asked_then_name_the_account() -> None:
    assert CONNECTOR.sandbox_credentials("10:1") == {
        "access_token": "sandbox-10%3A1",
        "refresh_token": "sandbox-refresh-10%3A1-0",
    }
