"""get-post over HTTP: rows G1 and G2, and the exact shape of entries."""

import asyncio

import pytest

from tests.factories import in_future, make_account, make_key
from tests.web.support import (
    MALFORMED_IDS,
    NO_GROUP,
    UNKNOWN_ID,
    broken,
    error_object,
    refused,
    run_sql,
    set_post,
)

pytestmark = pytest.mark.anyio


async def read(api, group_id, **options):
    return await api.call("GET", f"/get-post/{group_id}", **options)


async def test_g1_when_the_id_is_malformed_or_unknown_then_404(api):
    for group_id in (*MALFORMED_IDS, UNKNOWN_ID):
        refused(await read(api, group_id), 404, NO_GROUP)


async def test_g1_when_the_group_is_of_another_account_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    stranger = await make_key(api.database, await make_account(api.database, email="stranger@example.org"))
    refused(await read(api, group, key=stranger), 404, NO_GROUP)


async def test_g1_when_the_group_was_deleted_then_404(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    await api.call("DELETE", f"/delete-post/{group}")
    refused(await read(api, group), 404, NO_GROUP)


async def test_g2_when_it_fails_unexpectedly_then_500(api):
    async with broken(api.database, "platform_posts"):
        refused(await read(api, UNKNOWN_ID), 500, "Failed to fetch post group")
    refused(await read(api, UNKNOWN_ID), 404, NO_GROUP)


async def test_read_when_a_draft_then_exactly_these_fields(api):
    await api.connect("bluesky-did:plc:abc")
    group = await api.create("bluesky-did:plc:abc", content="Hi")
    answer = await read(api, group)
    [entry] = answer.body["posts"]
    assert (answer.status, answer.body) == (
        200,
        {
            "success": True,
            "postGroupId": group,
            "posts": [
                {
                    "_id": entry["_id"],
                    "platform": "bluesky",
                    "platformId": "did:plc:abc",
                    "content": "Hi",
                    "status": "draft",
                }
            ],
        },
    )
    assert len(entry["_id"]) == 24


async def test_read_when_every_status_then_posted_id_and_error_only_where_they_belong(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    plain = {"_id", "platform", "platformId", "content", "status"}
    for status in ("draft", "scheduled", "pending", "processing"):
        await set_post(api.database, group, "twitter-1", status, posted_id="1", error="RATE_LIMITED")
        assert (await api.entries(group))[0].keys() == plain
    await set_post(api.database, group, "twitter-1", "published", posted_id="77", error="RATE_LIMITED")
    [entry] = await api.entries(group)
    assert (entry.keys() - plain, entry["postedId"]) == ({"postedId"}, "77")
    await set_post(api.database, group, "twitter-1", "failed", posted_id="77", error="RATE_LIMITED")
    [entry] = await api.entries(group)
    assert (entry.keys() - plain, entry["error"]) == ({"error"}, error_object("RATE_LIMITED"))


async def test_read_when_an_error_has_no_answer_of_the_platform_then_null_is_written_out(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    await set_post(api.database, group, "twitter-1", "failed", error="NETWORK_ERROR")
    error = error_object("NETWORK_ERROR", platformStatusCode=None, platformError=None)
    await run_sql(api.database, "UPDATE platform_posts SET error = $1", error)
    assert (await api.entries(group))[0]["error"] == error


async def test_read_when_split_then_one_entry_for_each_part_in_place(api):
    await api.connect("twitter-1", "bluesky-b")
    group = await api.create("twitter-1", "bluesky-b", content="Long", at=in_future())
    first = (await api.entries(group))[0]["_id"]
    error = error_object("RATE_LIMITED")
    parts = [
        {"id": first, "content": "Long [1/3]", "status": "published", "postedId": "7"},
        {"id": "b" * 24, "content": "Long [2/3]", "status": "failed", "error": error},
        {"id": "c" * 24, "content": "Long [3/3]", "status": "failed", "error": error},
    ]
    await set_post(api.database, group, "twitter-1", "failed", error="RATE_LIMITED")
    await run_sql(api.database, "UPDATE platform_posts SET parts = $1 WHERE platform_id = 'twitter-1'", parts)
    entries = await api.entries(group)
    assert [(entry["_id"], entry["content"], entry["status"], entry.get("postedId")) for entry in entries[:3]] == [
        (first, "Long [1/3]", "published", "7"),
        ("b" * 24, "Long [2/3]", "failed", None),
        ("c" * 24, "Long [3/3]", "failed", None),
    ]
    assert [entry.get("error") for entry in entries] == [None, error, error, None]
    assert (entries[3]["platform"], entries[3]["content"]) == ("bluesky", "Long")


async def test_read_when_a_split_post_waits_then_its_unsent_parts_show_its_status(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    parts = [
        {"id": "a" * 24, "content": "1", "status": "published", "postedId": "7"},
        {"id": "b" * 24, "content": "2", "status": "scheduled"},
    ]
    await set_post(api.database, group, "twitter-1", "pending")
    await run_sql(api.database, "UPDATE platform_posts SET parts = $1", parts)
    assert [entry["status"] for entry in await api.entries(group)] == ["published", "pending"]


async def test_read_when_the_id_is_in_upper_case_then_found_and_answered_in_lower_case(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    answer = await read(api, group.upper())
    assert (answer.status, answer.body["postGroupId"]) == (200, group)


async def test_read_when_the_address_ends_in_a_slash_or_is_encoded_then_the_same_answer(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    plain = await read(api, group)
    encoded = "".join(f"%{ord(character):02x}" for character in group)
    assert (await read(api, f"{group}/")).body == plain.body
    assert (await read(api, encoded)).body == plain.body


async def test_read_when_published_for_real_then_each_entry_has_the_platforms_own_id(system):
    await system.connect("twitter-1", "mastodon-4")
    group = await system.create("twitter-1", "mastodon-4", at=in_future(seconds=-1))
    entries = await system.ended(group)
    posted = [(await system.posted(platform_id))[0]["id"] for platform_id in ("twitter-1", "mastodon-4")]
    assert [entry["postedId"] for entry in entries] == posted


async def test_read_when_many_read_at_once_then_each_gets_its_own_group_and_nobody_anothers(api):
    stranger = await make_account(api.database, email="stranger@example.org")
    key = await make_key(api.database, stranger)
    await api.connect("twitter-1", "bluesky-b")
    groups = [await api.create("twitter-1", "bluesky-b", content=str(n)) for n in range(10)]
    reads = [read(api, group) for group in groups * 2]
    foreign = [read(api, group, key=key) for group in groups]
    unknown = [read(api, UNKNOWN_ID) for _ in range(5)]
    answers = await asyncio.gather(
        *(read for trio in zip(reads[:10], foreign, reads[10:], strict=True) for read in trio)
    )
    assert {answer.status for answer in await asyncio.gather(*unknown)} == {404}
    assert {answer.status for answer in answers[1::3]} == {404}
    for own in (answers[0::3], answers[2::3]):
        assert [answer.body["postGroupId"] for answer in own] == groups
        assert [[entry["content"] for entry in answer.body["posts"]] for answer in own] == [
            [str(n)] * 2 for n in range(10)
        ]
