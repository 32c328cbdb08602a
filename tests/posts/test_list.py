"""list-posts over HTTP: rows L1 to L5, the rules of every parameter, and the exact shape of a page."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import in_future, make_account, make_key
from tests.web.support import broken, fail, refused, run_sql, set_group, set_post

pytestmark = pytest.mark.anyio


async def page(api, **query):
    return await api.call("GET", "/list-posts", params=query)


async def ids(api, **query):
    answer = await page(api, **query)
    assert answer.status == 200, answer
    return [post["postGroupId"] for post in answer.body["posts"]]


async def fill(api, count, *, scheduled=False):
    """Create groups one minute apart from each other; the first is the oldest. Returns their ids."""
    await api.connect("twitter-1")
    at = in_future() if scheduled else None
    groups = [await api.create("twitter-1", content=str(n), at=at) for n in range(count)]
    await run_sql(
        api.database,
        """
        UPDATE post_groups g SET created_at = timestamptz '2026-01-01Z' + n * interval '1 min',
            updated_at = timestamptz '2026-02-01Z' - n * interval '1 min'
        FROM unnest($1::text[]) WITH ORDINALITY AS w (id, n) WHERE g.id = w.id
        """,
        groups,
    )
    return groups


async def schedule(api, times):
    """Create one scheduled group for each time (None: a draft without one) and return their ids."""
    await api.connect("twitter-1")
    groups = []
    for time in times:
        groups.append(await api.create("twitter-1"))
        moment = None if time is None else datetime.fromisoformat(time)
        await run_sql(api.database, "UPDATE post_groups SET scheduled_at = $2 WHERE id = $1", groups[-1], moment)
    return groups


# Errors


async def test_l1_when_the_status_is_no_group_status_then_400(api):
    error = "Invalid status. Must be one of: draft, scheduled, published, failed, partially_published"
    for status in ("pending", "processing", "Draft", "DRAFT", " draft", "all", "draft,failed", "0", "\0", "é"):
        refused(await page(api, status=status), 400, error)


async def test_l2_when_sorted_by_anything_else_then_400(api):
    error = "Invalid sortBy. Must be one of: createdAt, updatedAt, scheduledTime"
    for name in ("created_at", "CreatedAt", "id", "content; DROP TABLE post_groups", "\0"):
        refused(await page(api, sortBy=name), 400, error)


BAD_DATES = ("tomorrow", "2026-13", "2026-02-30", "26-01-01", "1767225600", "2026-01-01T25:00", "13/1/2026", "-", "\0")


async def test_l3_when_from_date_is_no_date_then_400(api):
    for text in BAD_DATES:
        refused(await page(api, fromDate=text), 400, "Invalid fromDate format")


async def test_l4_when_to_date_is_no_date_then_400(api):
    for text in BAD_DATES:
        refused(await page(api, toDate=text), 400, "Invalid toDate format")


async def test_l1_to_l4_when_several_are_wrong_then_the_first_in_order_answers(api):
    wrong = {"toDate": "x", "fromDate": "x", "sortBy": "x", "status": "x"}
    for name, beginning in (
        ("status", "Invalid status"),
        ("sortBy", "Invalid sortBy"),
        ("fromDate", "Invalid fromDate"),
        ("toDate", "Invalid toDate"),
    ):
        answer = await page(api, **wrong)
        assert (answer.status, answer.body["error"][: len(beginning)]) == (400, beginning)
        del wrong[name]


async def test_l5_when_it_fails_unexpectedly_then_500(api):
    async with broken(api.database, "platform_posts"):
        refused(await page(api), 500, "Failed to list posts")


# Shape


async def test_list_when_there_is_nothing_then_an_empty_page(api):
    answer = await page(api)
    assert (answer.status, answer.body) == (
        200,
        {
            "success": True,
            "posts": [],
            "pagination": {
                "page": 1,
                "limit": 20,
                "totalItems": 0,
                "totalPages": 0,
                "hasNextPage": False,
                "hasPrevPage": False,
            },
        },
    )


async def test_list_when_there_is_a_draft_and_a_scheduled_group_then_exactly_these_fields(api):
    await api.connect("twitter-1", "bluesky-did:plc:a")
    draft = await api.create("twitter-1", content="Draft " * 500)
    at = in_future()
    scheduled = await api.create("bluesky-did:plc:a", "twitter-1", at=at)
    answer = await page(api)
    first, second = answer.body["posts"]
    assert answer.body.keys() == {"success", "posts", "pagination"}
    assert first == {
        "postGroupId": scheduled,
        "content": "Hello",
        "status": "scheduled",
        "scheduledTime": at,
        "createdAt": first["createdAt"],
        "updatedAt": first["updatedAt"],
        "platforms": [
            {"platformId": "bluesky-did:plc:a", "platform": "bluesky", "status": "scheduled"},
            {"platformId": "twitter-1", "platform": "twitter", "status": "scheduled"},
        ],
        "mediaUrls": [],
    }
    assert second == {
        "postGroupId": draft,
        "content": "Draft " * 500,
        "status": "draft",
        "createdAt": second["createdAt"],
        "updatedAt": second["updatedAt"],
        "platforms": [{"platformId": "twitter-1", "platform": "twitter", "status": "draft"}],
        "mediaUrls": [],
    }


async def test_list_when_a_post_is_split_then_one_platform_with_the_status_of_the_whole(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", at=in_future())
    parts = [
        {"id": "a" * 24, "content": "1", "status": "published", "postedId": "7"},
        {"id": "b" * 24, "content": "2", "status": "failed", "error": {}},
    ]
    await fail(api.database, group, twitter_1="RATE_LIMITED")
    await run_sql(api.database, "UPDATE platform_posts SET parts = $1", parts)
    [listed] = (await page(api)).body["posts"]
    assert listed["platforms"] == [{"platformId": "twitter-1", "platform": "twitter", "status": "failed"}]
    # A retry under way: the whole is as far as its least advanced part.
    parts[1] = {"id": "b" * 24, "content": "2", "status": "pending"}
    await run_sql(api.database, "UPDATE platform_posts SET parts = $1", parts)
    await set_post(api.database, group, "twitter-1", "processing")
    [listed] = (await page(api)).body["posts"]
    assert listed["platforms"][0]["status"] == "pending"


async def test_list_when_others_have_groups_too_then_only_ones_own(api):
    await fill(api, 2)
    stranger = await make_account(api.database, email="stranger@example.org")
    answer = await api.call("GET", "/list-posts", key=await make_key(api.database, stranger))
    assert (answer.body["posts"], answer.body["pagination"]["totalItems"]) == ([], 0)


# page and limit


PAGES = {
    "": 1,
    "2": 2,
    "2.7": 2,
    "5abc": 5,
    "+3": 3,
    " 4": 4,
    "0": 1,
    "-3": 1,
    "abc": 1,
    "NaN": 1,
    "1e3": 1,
    "2147483647": 2147483647,
    "2147483648": 2147483647,
    "9" * 400: 2147483647,
}
LIMITS = {"": 20, "0": 20, "abc": 20, "-0": 20, "-1": 1, "-999": 1, "7.9": 7, "100": 100, "101": 100, "9" * 99: 100}


async def test_list_when_page_is_odd_then_its_leading_integer_within_bounds(api):
    for text, number in PAGES.items():
        answer = await page(api, page=text)
        assert (answer.status, answer.body["pagination"]["page"]) == (200, number), text


async def test_list_when_limit_is_odd_then_its_leading_integer_within_bounds(api):
    for text, number in LIMITS.items():
        answer = await page(api, limit=text)
        assert (answer.status, answer.body["pagination"]["limit"]) == (200, number), text


async def test_list_when_there_are_several_pages_then_they_cover_all_without_overlap(api):
    groups = await fill(api, 5)
    seen = []
    for number, (has_next, has_prev) in {1: (True, False), 2: (True, True), 3: (False, True)}.items():
        answer = await page(api, page=str(number), limit="2")
        seen += [post["postGroupId"] for post in answer.body["posts"]]
        assert answer.body["pagination"] == {
            "page": number,
            "limit": 2,
            "totalItems": 5,
            "totalPages": 3,
            "hasNextPage": has_next,
            "hasPrevPage": has_prev,
        }
    assert seen == groups[::-1]


async def test_list_when_the_page_is_past_the_end_then_empty_and_counted(api):
    await fill(api, 3)
    for number in ("3", "2147483647"):
        answer = await page(api, page=number, limit="2")
        assert (answer.status, answer.body["posts"]) == (200, [])
        facts = answer.body["pagination"]
        assert (facts["totalItems"], facts["totalPages"], facts["hasNextPage"], facts["hasPrevPage"]) == (
            3,
            2,
            False,
            True,
        )


# Filters


async def test_list_when_filtered_by_status_then_exactly_those(api):
    groups = dict(
        zip(("draft", "scheduled", "published", "failed", "partially_published"), await fill(api, 5), strict=True)
    )
    for status, group in groups.items():
        await set_group(api.database, group, status)
    for status, group in groups.items():
        assert await ids(api, status=status) == [group]


async def test_list_when_filtered_by_platform_then_whole_prefixes_and_any_case(api):
    await api.connect("twitter-1", "bluesky-did:plc:a", "linkedin-L")
    twitter = await api.create("twitter-1")
    both = await api.create("bluesky-did:plc:a", "twitter-1")
    for text in ("twitter", "TWITTER", "tWiTtEr"):
        assert await ids(api, platform=text) == [both, twitter]
    assert await ids(api, platform="Bluesky") == [both]
    for text in ("linkedin", "twit", "%", "twitter%", "_witter", "twitter-1", "x", "'", "\\", "\0", "é" * 50, "-"):
        assert await ids(api, platform=text) == []


async def test_list_when_filtered_by_platform_then_every_platform_of_the_group_is_shown(api):
    await api.connect("twitter-1", "linkedin-L")
    await api.create("linkedin-L", "twitter-1")
    [listed] = (await page(api, platform="twitter")).body["posts"]
    assert [platform["platform"] for platform in listed["platforms"]] == ["linkedin", "twitter"]


async def test_list_when_filtered_by_dates_then_both_ends_count_and_the_timeless_drop_out(api):
    _, first, second, third = await schedule(
        api, [None, "2026-03-01T00:00:00Z", "2026-03-01T12:00:00Z", "2026-03-02T00:00:00Z"]
    )
    assert await ids(api, fromDate="2026-03-01", sortBy="scheduledTime") == [third, second, first]
    assert await ids(api, toDate="2026-03-01T12:00:00Z", sortBy="scheduledTime") == [second, first]
    assert await ids(api, fromDate="2026-03-01T00:00:01Z", toDate="2026-03-02", sortBy="scheduledTime") == [
        third,
        second,
    ]
    assert await ids(api, fromDate="2026-03-03", toDate="2026-03-01") == []
    assert len(await ids(api)) == 4


DATES = (
    "2026",
    "2026-01",
    "2026-01-01",
    "2026-01-01T00:00",
    "2026-01-01 00:00",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00:00.000Z",
    "2026-01-01T02:00:00+02:00",
    "2026-01-01T02:00:00 02:00",
    "2025-12-31T19:00:00-0500",
    "Thu, 01 Jan 2026 00:00:00 GMT",
    "Thu, 01 Jan 2026 01:00:00 +0100",
    "1 Jan 2026 00:00:00 +0000",
    "January 1, 2026",
    "Jan 1 2026",
    "1/1/2026",
)


async def test_list_when_a_date_has_any_accepted_form_then_it_means_the_same_moment(api):
    [group] = await schedule(api, ["2026-01-01T00:00:00Z"])
    for text in DATES:
        assert await ids(api, fromDate=text, toDate=text) == [group], text


async def test_list_when_a_plus_arrives_as_a_blank_then_it_is_an_offset(api):
    [group] = await schedule(api, ["2026-01-01T00:00:00Z"])
    answer = await api.call("GET", "/list-posts?fromDate=2026-01-01T02:00:00+02:00&toDate=2026-01-01T02:00:00+02:00")
    assert [post["postGroupId"] for post in answer.body["posts"]] == [group]


async def test_list_when_filters_are_combined_then_all_hold(api):
    await api.connect("twitter-1", "linkedin-L")
    at = in_future(days=2)
    wanted = await api.create("linkedin-L", at=at)
    await api.create("twitter-1", at=at)
    await api.create("linkedin-L", at=in_future(days=9))
    await api.create("linkedin-L", at=at, status="draft")
    until = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    assert await ids(api, platform="linkedin", status="scheduled", toDate=until) == [wanted]


async def test_list_when_a_parameter_is_empty_then_it_counts_as_absent(api):
    groups = await fill(api, 2)
    empty = dict.fromkeys(("status", "platform", "sortBy", "sortOrder", "fromDate", "toDate", "page", "limit"), "")
    assert await ids(api, **empty) == groups[::-1]


async def test_list_when_a_parameter_repeats_then_the_first_counts(api):
    await fill(api, 3)
    answer = await api.call("GET", "/list-posts?limit=1&limit=2&status=draft&status=nonsense&page=&page=2")
    assert (answer.status, len(answer.body["posts"])) == (200, 1)
    assert answer.body["pagination"]["page"] == 1


async def test_list_when_unknown_parameters_are_sent_then_they_are_ignored(api):
    groups = await fill(api, 1)
    assert await ids(api, foo="bar", Page="7") == groups


# Order


async def test_list_when_sorted_by_creation_then_newest_first_unless_asc(api):
    groups = await fill(api, 3)
    for order in ("desc", "DESC", "ASC", "Asc", "up", ""):
        assert await ids(api, sortOrder=order) == groups[::-1]
    assert await ids(api, sortOrder="asc") == groups


async def test_list_when_sorted_by_change_then_by_the_last_change(api):
    groups = await fill(api, 3)
    assert await ids(api, sortBy="updatedAt") == groups
    assert await ids(api, sortBy="updatedAt", sortOrder="asc") == groups[::-1]


async def test_list_when_sorted_by_time_then_the_timeless_stand_first_ascending_and_last_descending(api):
    early, none_a, late, none_b = await schedule(api, ["2026-01-01T00:00:00Z", None, "2026-05-01T00:00:00Z", None])
    assert await ids(api, sortBy="scheduledTime", sortOrder="asc") == [none_a, none_b, early, late]
    assert await ids(api, sortBy="scheduledTime") == [late, early, none_b, none_a]


async def test_list_when_sort_values_are_equal_then_ordered_by_id_and_pages_do_not_overlap(api):
    groups = await fill(api, 6)
    await run_sql(
        api.database,
        "UPDATE post_groups SET created_at = '2026-01-01Z', updated_at = '2026-01-01Z', scheduled_at = '2026-01-01Z'",
    )
    for sort_by in ("createdAt", "updatedAt", "scheduledTime"):
        for order, expected in (("asc", groups), ("desc", groups[::-1])):
            pages = [await ids(api, sortBy=sort_by, sortOrder=order, limit="2", page=str(n)) for n in (1, 2, 3)]
            assert [group for part in pages for group in part] == expected
