"""create-post over HTTP: every row of errors.md 3.3, how bodies are read, and what is written."""

from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from tests.factories import in_future, iso, make_account, make_key
from tests.system import open_system
from tests.web.support import ago, broken, close_to, refused, run_sql, unchanged, used

pytestmark = pytest.mark.anyio

VALID = {"content": "Hello", "platforms": ["twitter-1"]}
MISSING = object()


async def post(api, **changes):
    """Send a create-post that is valid but for the changes; MISSING takes a field away."""
    body = {name: value for name, value in {**VALID, **changes}.items() if value is not MISSING}
    return await api.call("POST", "/create-post", json=body)


async def refuses(api, status, error, field, *values):
    async with unchanged(api.database):
        for value in values:
            refused(await post(api, **{field: value}), status, error)


def form(kind, fields):
    data = aiohttp.FormData(default_to_multipart=kind == "multipart")
    for name, value in fields:
        data.add_field(name, value)
    return data


async def groups(api):
    return await run_sql(api.database, "SELECT * FROM post_groups ORDER BY created_at, id")


async def test_c1_content_when_absent_or_blank_or_no_string_then_400(api):
    values = (MISSING, None, "", " ", "\n\t\r ", "\u00a0\u2003", 0, 1, True, False, [], ["text"], {}, {"a": 1})
    await refuses(api, 400, "Content is required", "content", *values)


async def test_c2_platforms_when_absent_or_falsy_then_400(api):
    await refuses(api, 400, "Platforms are required", "platforms", MISSING, None, False, 0, 0.0, "")


async def test_c3_platforms_when_a_string_that_is_no_json_then_400(api):
    values = ("twitter-1", "[", "['twitter-1']", " ", "twitter-1,twitter-2", '["twitter-1"', "NaN", '["\\ud800"]')
    await refuses(api, 400, "Invalid platforms JSON format", "platforms", *values)


async def test_c4_platforms_when_decoded_and_no_array_then_400(api):
    values = ({}, {"0": "twitter-1"}, 5, True, 1.5, "{}", "5", "0", "true", "false", "null", '"twitter-1"', '""')
    await refuses(api, 400, "Platforms must be an array", "platforms", *values)


async def test_c5_platforms_when_empty_then_400(api):
    await refuses(api, 400, "At least one platform is required", "platforms", [], "[]", " [ ] ")


MALFORMED_PLATFORM_IDS = (
    ("twitter", "twitter"),
    ("", ""),
    ("-1", "-1"),
    ("twitter-", "twitter-"),
    ("Twitter-1", "Twitter-1"),
    ("twitter2-1", "twitter2-1"),
    ("twitter-1\n", "twitter-1\n"),
    (" twitter-1", " twitter-1"),
    ("twitter-1/2", "twitter-1/2"),
    ("twitter-é", "twitter-é"),
    ("twitter-{platformId}", "twitter-{platformId}"),
    (123, "123"),
    (10**30, str(10**30)),
    (1.5, "1.5"),
    (None, "null"),
    (True, "true"),
    ({"a": 1}, '{"a":1}'),
    ([1, "é"], '[1,"é"]'),
    ({"a": 10**30}, '{"a":1000000000000000000000000000000}'),
)


async def test_c6_platform_id_when_malformed_then_400_naming_it(api):
    async with unchanged(api.database):
        for entry, shown in MALFORMED_PLATFORM_IDS:
            refused(await post(api, platforms=[entry]), 400, f"Invalid platform ID format: {shown}")


async def test_c6_several_malformed_ids_when_sent_then_400_names_the_first(api):
    answer = await post(api, platforms=["twitter-1", "bad", None, "worse"])
    refused(answer, 400, "Invalid platform ID format: bad")


BAD_TIMES = (
    "tomorrow",
    "2030-01-01",
    "2030-01-01 10:00:00Z",
    "2030-01-01T10:00:00",
    "2030-01-01T10Z",
    "2030-01-01t10:00:00Z",
    "2030-01-01T10:00:00z",
    "2030-02-30T10:00:00Z",
    "2030-13-01T10:00:00Z",
    "2030-01-01T24:00:00Z",
    "2030-01-01T10:00:60Z",
    "2030-01-01T10:00:00.Z",
    "2030-01-01T10:00:00+1",
    " 2030-01-01T10:00:00Z",
    "2030-01-01T10:00:00Z\n",
    "٢٠٣٠-01-01T10:00:00Z",
)


async def test_c7_scheduled_time_when_no_time_with_a_zone_then_400(api):
    values = (*BAD_TIMES, 0, 1893456000, True, False, [], {}, [in_future()])
    await refuses(api, 400, "Invalid scheduled time format", "scheduledTime", *values)


async def test_c8_scheduled_time_when_more_than_five_minutes_ago_then_400(api):
    values = (ago(minutes=5, seconds=1), ago(days=400), "0001-01-01T00:00:00Z")
    await refuses(api, 400, "Scheduled time cannot be in the past", "scheduledTime", *values)


async def test_c8_scheduled_time_when_long_ago_and_past_means_now_then_taken_as_now(dsn):
    async with open_system(dsn, past_schedule="now") as api:
        await api.connect("twitter-1")
        await api.create("twitter-1", at="2001-01-01T00:00:00Z")
        [group] = await groups(api)
        assert abs(group["scheduled_at"] - datetime.now(UTC)) < timedelta(seconds=10)


async def test_c9_platform_settings_when_a_string_that_is_no_json_then_400(api):
    await refuses(api, 400, "Invalid platformSettings JSON", "platformSettings", "", " ", "{", "{'a': 1}", "tiktok")


async def test_c10_platform_settings_when_decoded_and_no_object_then_400(api):
    values = (None, [], 5, True, False, 0, "null", "[]", "5", '"{}"', "true")
    await refuses(api, 400, "platformSettings must be an object", "platformSettings", *values)


async def test_c11_platform_id_when_not_connected_then_400_naming_the_first(api):
    await api.connect("twitter-1")
    other = await make_account(api.database, email="other@example.org")
    await api.connect("twitter-7", account_id=other)
    async with unchanged(api.database):
        for missing in ("twitter-7", "twitter-12", "pinterest-1", "myspace-1", "twitter-1:x"):
            answer = await post(api, platforms=["twitter-1", missing, "bluesky-none"])
            refused(answer, 400, f"Platform connection not found: {missing}")


async def test_c11_platform_id_when_its_case_differs_then_not_connected(api):
    await api.connect("linkedin-Abc")
    answer = await post(api, platforms=["linkedin-abc"])
    refused(answer, 400, "Platform connection not found: linkedin-abc")


async def test_c14_create_when_it_fails_unexpectedly_then_500_and_nothing_is_written(api):
    await api.connect("twitter-1")
    async with unchanged(api.database), broken(api.database, "post_logs"):
        refused(await post(api, scheduledTime=in_future()), 500, "Failed to create post group")


async def test_c14_create_when_what_was_broken_works_again_then_200(api):
    await api.connect("twitter-1")
    async with broken(api.database, "post_groups"):
        refused(await post(api), 500, "Failed to create post group")
    assert (await post(api)).status == 200


async def test_create_when_valid_then_the_answer_is_exactly_success_and_id(api):
    await api.connect("twitter-1")
    answer = await post(api)
    assert answer.status == 200
    assert answer.body == {"success": True, "postGroupId": (await groups(api))[0]["id"]}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_create_when_without_a_time_then_a_draft_that_costs_nothing(api):
    await api.connect("twitter-1")
    for value in (MISSING, None, ""):
        assert (await post(api, scheduledTime=value)).status == 200
    assert [(group["status"], group["scheduled_at"], group["due_at"]) for group in await groups(api)] == [
        ("draft", None, None)
    ] * 3
    assert await used(api.database, api.account_id) == {}


async def test_create_when_status_is_draft_then_the_time_is_stored_and_nothing_is_charged(api):
    await api.connect("twitter-1")
    at = in_future(days=2)
    await api.create("twitter-1", at=at, status="draft")
    [group] = await groups(api)
    assert (group["status"], iso(group["scheduled_at"]), group["due_at"]) == ("draft", at, None)
    assert await used(api.database, api.account_id) == {}


async def test_create_when_status_is_anything_but_draft_then_it_is_ignored(api):
    await api.connect("twitter-1")
    for status in ("scheduled", "Draft", "published", 1, None, ["draft"], {"draft": True}):
        await api.create("twitter-1", at=in_future(), status=status)
    await api.create("twitter-1", status="scheduled")
    assert [group["status"] for group in await groups(api)] == ["scheduled"] * 7 + ["draft"]


async def test_create_when_the_time_is_up_to_five_minutes_ago_then_it_is_stored_as_now(api):
    await api.connect("twitter-1")
    await api.create("twitter-1", at=ago(minutes=4, seconds=55))
    [group] = await groups(api)
    assert abs(group["scheduled_at"] - datetime.now(UTC)) < timedelta(seconds=4)
    assert group["due_at"] == group["scheduled_at"]


ACCEPTED_TIMES = (
    ("2035-06-01T10:00Z", "2035-06-01T10:00:00.000Z"),
    ("2035-06-01T10:00:05Z", "2035-06-01T10:00:05.000Z"),
    ("2035-06-01T10:00:05.123987Z", "2035-06-01T10:00:05.123Z"),
    ("2035-06-01T10:00:05.1+02:00", "2035-06-01T08:00:05.100Z"),
    ("2035-06-01T10:00:05-0530", "2035-06-01T15:30:05.000Z"),
    ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
)


async def test_create_when_the_time_has_an_accepted_form_then_it_is_stored_in_utc(api):
    await api.connect("twitter-1")
    for given, stored in ACCEPTED_TIMES:
        await api.create("twitter-1", content=stored, at=given)
    listed = (await api.call("GET", "/list-posts")).body["posts"]
    assert len(listed) == len(ACCEPTED_TIMES)
    assert [post["scheduledTime"] for post in listed] == [post["content"] for post in listed]


async def test_create_when_content_has_blanks_and_emoji_then_it_is_stored_exactly(api):
    await api.connect("twitter-1")
    content = "  Grüße 👩‍👩‍👧\r\n\t---\n" + "x" * 20_000 + " \u200b "
    group = await api.create("twitter-1", content=content)
    assert (await api.entries(group))[0]["content"] == content


async def test_create_when_platforms_repeat_then_each_counts_once_at_its_first_place(api):
    await api.connect("twitter-1", "bluesky-b", "linkedin-L")
    group = await api.create("bluesky-b", "twitter-1", "bluesky-b", "linkedin-L", "twitter-1", at=in_future())
    assert [entry["platform"] for entry in await api.entries(group)] == ["bluesky", "twitter", "linkedin"]
    assert await used(api.database, api.account_id) == {"bluesky-b": 1, "twitter-1": 1, "linkedin-L": 1}


async def test_create_when_platforms_and_settings_are_json_strings_then_read_as_if_decoded(api):
    await api.connect("twitter-1", "mastodon-4")
    answer = await post(
        api, platforms='["twitter-1", "mastodon-4"]', platformSettings='{"mastodon": {"visibility": "private"}}'
    )
    assert answer.status == 200
    assert (await groups(api))[0]["settings"]["mastodon"]["visibility"] == "private"
    assert len(await api.entries(answer.body["postGroupId"])) == 2


async def test_create_when_settings_are_given_then_laid_over_the_defaults_and_the_unknown_dropped(api):
    await api.connect("mastodon-4", "twitter-1")
    given = {
        "mastodon": {"visibility": "nonsense", "spoilerText": None, "unknown": 1},
        "myspace": {"a": 1},
        "twitter": "x",
    }
    await api.create("mastodon-4", "twitter-1", platformSettings=given)
    [group] = await groups(api)
    assert group["settings"] == {"mastodon": {"visibility": "nonsense", "spoilerText": None, "sensitive": False}}


async def test_create_when_a_setting_is_a_huge_number_then_it_is_stored(api):
    await api.connect("mastodon-4")
    await api.create("mastodon-4", platformSettings={"mastodon": {"sensitive": 10**30}})
    [row] = await run_sql(api.database, "SELECT settings #>> '{mastodon,sensitive}' AS sensitive FROM post_groups")
    assert row["sensitive"] == str(10**30)


async def test_create_when_unknown_fields_are_sent_then_they_are_ignored(api):
    await api.connect("twitter-1")
    assert (await post(api, whatever={"x": [1]}, userId="f" * 24, postGroupId="x")).status == 200


async def test_create_when_scheduled_then_each_platform_post_is_logged_and_charged(api):
    await api.connect("twitter-1", "bluesky-b")
    at = in_future()
    group = await api.create("twitter-1", "bluesky-b", at=at)
    logs = await api.logs(group)
    assert [(log["event"], log["platform"], log["metadata"]) for log in logs] == [
        ("scheduled", "twitter", {"scheduledTime": at}),
        ("scheduled", "bluesky", {"scheduledTime": at}),
    ]
    assert await used(api.database, api.account_id) == {"twitter-1": 1, "bluesky-b": 1}


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_create_when_sent_as_a_form_then_every_value_is_a_string(api, kind):
    await api.connect("twitter-1", "mastodon-4")
    fields = {
        "content": "Grüße & more",
        "platforms": '["twitter-1","mastodon-4"]',
        "platformSettings": '{"mastodon":{"sensitive":true}}',
        "scheduledTime": in_future(days=3),
    }
    answer = await api.call("POST", "/create-post", data=form(kind, fields.items()))
    assert answer.status == 200, answer
    [group] = await groups(api)
    assert (group["content"], group["status"]) == ("Grüße & more", "scheduled")
    assert group["settings"]["mastodon"]["sensitive"] is True


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_create_when_a_form_field_repeats_then_it_is_an_array(api, kind):
    await api.connect("twitter-1", "mastodon-4")
    fields = [("content", "Hello"), ("platforms", "mastodon-4"), ("platforms", "twitter-1")]
    answer = await api.call("POST", "/create-post", data=form(kind, fields))
    assert answer.status == 200, answer
    assert [entry["platform"] for entry in await api.entries(answer.body["postGroupId"])] == ["mastodon", "twitter"]


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
async def test_create_when_a_form_has_one_bare_id_then_c3(api, kind):
    fields = [("content", "Hello"), ("platforms", "twitter-1")]
    answer = await api.call("POST", "/create-post", data=form(kind, fields))
    refused(answer, 400, "Invalid platforms JSON format")


async def test_create_when_a_multipart_form_has_files_then_they_are_ignored(api):
    await api.connect("twitter-1")
    data = form("multipart", [("content", "Hello"), ("platforms", '["twitter-1"]')])
    data.add_field("content", b"\x00\xff" * 1000, filename="photo.jpg", content_type="image/jpeg")
    answer = await api.call("POST", "/create-post", data=data)
    assert answer.status == 200, answer
    assert (await groups(api))[0]["content"] == "Hello"


async def test_create_when_for_another_key_of_the_account_then_both_see_it(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    second = await make_key(api.database, api.account_id)
    assert (await api.call("GET", f"/get-post/{group}", key=second)).status == 200


async def test_create_when_listed_then_created_and_updated_are_the_moment_of_the_request(api):
    await api.connect("twitter-1")
    await api.create("twitter-1")
    [listed] = (await api.call("GET", "/list-posts")).body["posts"]
    assert listed["createdAt"] == listed["updatedAt"]
    assert close_to(listed["createdAt"], datetime.now(UTC))
