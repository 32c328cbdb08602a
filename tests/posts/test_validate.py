"""validate-post over HTTP: rows V1 to V3 and those it shares with create-post, and the shape of the verdict."""

import aiohttp
import pytest

from tests.factories import in_future, make_account, make_key
from tests.posts.test_create import MALFORMED_PLATFORM_IDS, MISSING
from tests.web.support import (
    NO_GROUP,
    UNKNOWN_ID,
    broken,
    put_on,
    refused,
    run_sql,
    unchanged,
)

pytestmark = pytest.mark.anyio

VALID = {"content": "Hello", "platforms": ["twitter-1"]}
FINE = {
    "valid": True,
    "errors": [],
    "warnings": [],
    "summary": {"affectedPlatforms": [], "errorCount": 0, "warningCount": 0},
}


async def validate(api, **changes):
    body = {name: value for name, value in {**VALID, **changes}.items() if value is not MISSING}
    return await api.call("POST", "/validate-post", json=body)


async def refuses(api, status, error, field, *values):
    async with unchanged(api.database):
        for value in values:
            refused(await validate(api, **{field: value}), status, error)


async def test_v1_when_the_id_is_truthy_and_no_group_of_the_account_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    values = ("x", "g" * 24, "a" * 25, "a" * 24 + "\n", UNKNOWN_ID, 5, True, ["a" * 24], [], {}, {"id": group}, [group])
    await refuses(api, 404, NO_GROUP, "postGroupId", *values)
    stranger = await make_key(api.database, await make_account(api.database, email="stranger@example.org"))
    foreign = await api.call("POST", "/validate-post", key=stranger, json={"postGroupId": group})
    refused(foreign, 404, NO_GROUP)


async def test_v2_when_media_is_no_list_of_described_files_then_400(api):
    await api.connect("twitter-1")
    values = (
        {},
        5,
        True,
        "image",
        [None],
        ["image"],
        [{}],
        [{"type": "gif"}],
        [{"type": None}],
        [{"type": "Image"}],
        [{"type": "image"}, {"type": 1}],
        [{"type": "image"}] * 36,
        [[]],
    )
    await refuses(api, 400, "Invalid media", "media", *values)


async def test_v2_when_a_platform_is_not_connected_either_then_c11_comes_first(api):
    refused(await validate(api, media=5), 400, "Platform connection not found: twitter-1")


async def test_v3_when_it_fails_unexpectedly_then_500(api):
    async with broken(api.database, "connections"):
        refused(await validate(api), 500, "Failed to validate post")
    async with broken(api.database, "post_groups"):
        refused(await validate(api, postGroupId=UNKNOWN_ID), 500, "Failed to validate post")


async def test_c1_when_content_is_absent_or_no_string_then_400(api):
    await refuses(api, 400, "Content is required", "content", MISSING, None, 0, False, [], {})


async def test_c2_to_c5_when_platforms_are_wrong_then_as_in_create_post(api):
    await refuses(api, 400, "Platforms are required", "platforms", MISSING, None, "", 0, False)
    await refuses(api, 400, "Invalid platforms JSON format", "platforms", "twitter-1")
    await refuses(api, 400, "Platforms must be an array", "platforms", {}, "null", 7)
    await refuses(api, 400, "At least one platform is required", "platforms", [], "[]")


async def test_c6_when_a_platform_id_is_malformed_then_as_in_create_post(api):
    for entry, shown in MALFORMED_PLATFORM_IDS:
        refused(await validate(api, platforms=[entry]), 400, f"Invalid platform ID format: {shown}")


async def test_c9_and_c10_when_settings_are_wrong_then_as_in_create_post(api):
    await refuses(api, 400, "Invalid platformSettings JSON", "platformSettings", "", "{")
    await refuses(api, 400, "platformSettings must be an object", "platformSettings", None, [], "null")


async def test_c11_when_a_platform_is_not_connected_then_400_naming_it(api):
    await api.connect("twitter-1")
    answer = await validate(api, platforms=["twitter-1", "bluesky-x"])
    refused(answer, 400, "Platform connection not found: bluesky-x")


async def test_validate_when_fine_then_exactly_success_and_the_verdict(api):
    await api.connect("twitter-1")
    async with unchanged(api.database):
        answer = await validate(api)
    assert (answer.status, answer.body) == (200, {"success": True, "validation": FINE})


async def test_validate_when_a_platform_cannot_be_published_to_then_an_item_and_no_400(api):
    await api.connect("twitter-1")
    answer = await validate(api, platforms=["twitter-1", "pinterest-1", "myspace-1"])
    verdict = answer.body["validation"]
    assert answer.status == 200
    assert [(item["platform"], item["code"]) for item in verdict["errors"]] == [
        ("pinterest", "PLATFORM_NOT_SUPPORTED"),
        ("myspace", "PLATFORM_NOT_SUPPORTED"),
    ]
    assert verdict["summary"] == {"affectedPlatforms": ["pinterest", "myspace"], "errorCount": 2, "warningCount": 0}


async def test_validate_when_content_is_empty_then_an_item_and_no_400(api):
    await api.connect("twitter-1")
    answer = await validate(api, content="")
    assert [item["code"] for item in answer.body["validation"]["errors"]] == ["CONTENT_OR_MEDIA_REQUIRED"]


async def test_validate_when_too_long_for_one_and_split_for_another_then_error_and_warning(api):
    await api.connect("twitter-1", "linkedin-L")
    answer = await validate(api, content="x" * 3001, platforms=["twitter-1", "linkedin-L"])
    verdict = answer.body["validation"]
    assert verdict["valid"] is False
    assert [item["platform"] for item in verdict["errors"]] == ["linkedin"]
    assert [item["platform"] for item in verdict["warnings"]] == ["twitter"]
    assert verdict["errors"][0].keys() >= {
        "platform",
        "code",
        "message",
        "field",
        "severity",
        "currentValue",
        "maxValue",
    }


async def test_validate_when_scheduled_time_is_wrong_then_it_is_ignored(api):
    await api.connect("twitter-1")
    assert (await validate(api, scheduledTime="nonsense")).status == 200


async def test_validate_when_media_facts_have_wrong_types_then_they_count_as_unknown(api):
    await api.connect("twitter-1")
    facts = {"mimeType": 5, "size": "big", "width": True, "height": -1, "duration": [], "frameRate": 10**400}
    answer = await validate(api, media=[{"type": "image", **facts}] * 4)
    assert (answer.status, answer.body["validation"]) == (200, FINE)


async def test_validate_when_media_is_null_or_empty_then_there_is_none(api):
    await api.connect("twitter-1")
    for media in (None, [], "[]"):
        assert (await validate(api, media=media)).body == {"success": True, "validation": FINE}


async def test_validate_when_a_group_is_named_then_its_own_content_and_settings_are_checked(api):
    await api.connect("twitter-1", "linkedin-L", "mastodon-4")
    settings = {"mastodon": {"visibility": "nonsense"}}
    group = await api.create("twitter-1", "linkedin-L", "mastodon-4", content="x" * 3001, platformSettings=settings)
    async with unchanged(api.database):
        answer = await api.call("POST", "/validate-post", json={"postGroupId": group.upper(), "content": 5})
    found = [(item["platform"], item["code"]) for item in answer.body["validation"]["errors"]]
    assert ("linkedin", "CONTENT_TOO_LONG") in found
    assert ("mastodon", "PLATFORM_SETTING_INVALID") in found


async def test_validate_when_a_group_is_named_and_its_account_is_gone_then_still_checked(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    await run_sql(api.database, "DELETE FROM connections")
    answer = await api.call("POST", "/validate-post", json={"postGroupId": group})
    assert (answer.status, answer.body["validation"]) == (200, FINE)


async def test_validate_when_the_group_id_is_falsy_then_the_second_form_counts(api):
    await api.connect("twitter-1")
    for falsy in (None, "", 0, False):
        assert (await validate(api, postGroupId=falsy)).body == {"success": True, "validation": FINE}


async def test_validate_when_the_plan_lacks_the_platform_then_no_limit_is_looked_at(api):
    await api.connect("twitter-1")
    await put_on(api, {"plan_key": "starter", "entitlements": {"apiAccess": True, "monthlyPosts": 0}})
    assert (await validate(api)).status == 200


@pytest.mark.parametrize("multipart", [False, True])
async def test_validate_when_sent_as_a_form_then_read_as_strings(api, multipart):
    await api.connect("twitter-1")
    form = aiohttp.FormData(default_to_multipart=multipart)
    form.add_field("content", "Hello")
    form.add_field("platforms", '["twitter-1"]')
    form.add_field("media", '[{"type": "image"}]')
    answer = await api.call("POST", "/validate-post", data=form)
    assert (answer.status, answer.body) == (200, {"success": True, "validation": FINE})
    by_id = await api.call(
        "POST", "/validate-post", data={"postGroupId": await api.create("twitter-1", at=in_future())}
    )
    assert by_id.status == 200
