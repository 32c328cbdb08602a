"""The Idempotency-Key of create-post (rest-api.md 3.1): rows C12 and C13, and that one key never makes two posts."""

import asyncio

import pytest

from tests.factories import in_future, make_account, make_key
from tests.system import open_system
from tests.web.support import refused, run_sql, unchanged, use, used

pytestmark = pytest.mark.anyio

USED = "Idempotency key was used with a different request"


async def post(api, name, *, body=None, url_of=None, **options):
    body = {"content": "Hello", "platforms": ["twitter-1"]} if body is None else body
    headers = {"Idempotency-Key": name, **options.pop("headers", {})}
    return await (url_of or api).call("POST", "/create-post", json=body, headers=headers, **options)


async def group_count(api):
    [row] = await run_sql(api.database, "SELECT count(*) AS n FROM post_groups")
    return row["n"]


async def test_c12_when_longer_than_255_characters_then_400(api):
    await api.connect("twitter-1")
    async with unchanged(api.database):
        refused(await post(api, "k" * 256), 400, "Idempotency-Key must be at most 255 characters")
    assert (await post(api, "k" * 255)).status == 200
    assert (await post(api, " " + "j" * 255 + " ")).status == 200


async def test_c12_when_the_body_is_wrong_too_then_c12_comes_first(api):
    answer = await post(api, "k" * 256, body={})
    refused(answer, 400, "Idempotency-Key must be at most 255 characters")


async def test_c13_when_the_body_differs_then_409_and_nothing_changes(api):
    await api.connect("twitter-1", "twitter-2")
    assert (await post(api, "a")).status == 200
    others = (
        {"content": "Other", "platforms": ["twitter-1"]},
        {"content": "Hello", "platforms": ["twitter-2"]},
        {"content": "Hello", "platforms": ["twitter-1"], "unknown": 1},
        {"content": "Hello", "platforms": '["twitter-1"]'},
        {"content": "", "platforms": []},
        {},
    )
    async with unchanged(api.database):
        for body in others:
            refused(await post(api, "a", body=body), 409, USED)


async def test_same_key_when_the_body_is_equal_then_the_first_answer_again(api):
    await api.connect("twitter-1")
    first = await post(api, "a")
    async with unchanged(api.database):
        again = await post(api, "a")
    assert (again.status, again.body) == (200, first.body)


async def test_same_key_when_order_and_spacing_of_the_body_differ_then_it_is_equal(api):
    await api.connect("twitter-1")
    texts = (
        '{"content":"Hé","platforms":["twitter-1"],"platformSettings":{"a":{"x":1,"y":2.0}}}',
        '{ "platformSettings" : {"a": {"y": 2, "x": 1.0}},\n"platforms": ["twitter-1"], "content": "H\\u00e9"}',
    )
    answers = [
        await api.call(
            "POST",
            "/create-post",
            data=text.encode(),
            headers={"Idempotency-Key": "a", "Content-Type": "application/json"},
        )
        for text in texts
    ]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body


async def test_same_key_when_a_number_is_huge_then_it_is_compared_exactly(api):
    await api.connect("twitter-1")
    bodies = [{"content": "Hello", "platforms": ["twitter-1"], "n": 10**40 + more} for more in (0, 0, 1)]
    answers = [await post(api, "a", body=body) for body in bodies]
    assert [answer.status for answer in answers] == [200, 200, 409]


async def test_same_key_when_true_stands_for_one_then_it_is_another_request(api):
    await api.connect("twitter-1")
    bodies = [{"content": "Hello", "platforms": ["twitter-1"], "n": value} for value in (1, True)]
    answers = [await post(api, "a", body=body) for body in bodies]
    assert [answer.status for answer in answers] == [200, 409]


async def test_same_key_when_the_group_was_deleted_then_the_answer_is_the_same(api):
    await api.connect("twitter-1")
    first = await post(api, "a")
    await api.call("DELETE", f"/delete-post/{first.body['postGroupId']}")
    again = await post(api, "a")
    assert (again.status, again.body) == (200, first.body)
    assert await group_count(api) == 0


async def test_same_key_when_the_request_would_now_be_refused_then_still_the_first_answer(api):
    await api.connect("twitter-1")
    body = {"content": "Hello", "platforms": ["twitter-1"], "scheduledTime": in_future()}
    first = await post(api, "a", body=body)
    await use(api.database, api.account_id, "twitter-1", 500)
    await run_sql(api.database, "DELETE FROM connections")
    again = await post(api, "a", body=body)
    assert (again.status, again.body) == (200, first.body)


async def test_same_key_when_the_first_time_was_an_error_then_the_key_is_free(api):
    refused(await post(api, "a"), 400, "Platform connection not found: twitter-1")
    refused(await post(api, "a", body={"content": "x"}), 400, "Platforms are required")
    await api.connect("twitter-1")
    assert (await post(api, "a")).status == 200


async def test_same_key_when_a_limit_refused_the_first_then_the_key_is_free(api):
    await api.connect("twitter-1")
    await use(api.database, api.account_id, "twitter-1", 500)
    body = {"content": "Hello", "platforms": ["twitter-1"], "scheduledTime": in_future()}
    assert (await post(api, "a", body=body)).status == 403
    await use(api.database, api.account_id, "twitter-1", 0)
    assert (await post(api, "a", body=body)).status == 200


async def test_same_key_when_a_day_has_passed_then_it_is_a_new_request(api):
    await api.connect("twitter-1")
    first = await post(api, "a")
    await run_sql(api.database, "UPDATE idempotency_keys SET created_at = created_at - interval '24 hours'")
    second = await post(api, "a", body={"content": "Other", "platforms": ["twitter-1"]})
    assert second.status == 200
    assert second.body != first.body
    refused(await post(api, "a"), 409, USED)


async def test_same_key_when_from_another_account_then_it_is_another_key(api):
    await api.connect("twitter-1")
    other = await make_account(api.database, email="other@example.org")
    await api.connect("twitter-1", account_id=other)
    first = await post(api, "a")
    body = {"content": "Another", "platforms": ["twitter-1"]}
    second = await post(api, "a", body=body, key=await make_key(api.database, other))
    assert (first.status, second.status) == (200, 200)
    assert first.body != second.body


async def test_same_key_when_from_another_api_key_of_the_account_then_it_is_the_same(api):
    await api.connect("twitter-1")
    first = await post(api, "a")
    second = await post(api, "a", key=await make_key(api.database, api.account_id))
    assert second.body == first.body


async def test_blank_key_when_sent_then_it_counts_as_absent(api):
    await api.connect("twitter-1")
    answers = [await post(api, key) for key in ("", "  ", "\t")]
    assert len({answer.body["postGroupId"] for answer in answers}) == 3


async def test_keys_when_their_case_differs_then_they_are_two(api):
    await api.connect("twitter-1")
    assert (await post(api, "a")).body != (await post(api, "A")).body


async def test_same_key_when_many_come_at_once_then_one_post_and_one_answer(dsn):
    async with open_system(dsn) as one, open_system(dsn) as two:
        await one.connect("twitter-1")
        body = {"content": "Hello", "platforms": ["twitter-1"], "scheduledTime": in_future()}
        answers = await asyncio.gather(
            *(post(one, "a", body=body, url_of=(one, two)[n % 2], key=one.key) for n in range(40))
        )
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body["postGroupId"] for answer in answers}) == 1
        assert await group_count(one) == 1
        assert await used(one.database, one.account_id) == {"twitter-1": 1}


async def test_same_key_when_different_bodies_come_at_once_then_one_wins_and_the_others_get_409(dsn):
    async with open_system(dsn) as one, open_system(dsn) as two:
        await one.connect("twitter-1")
        bodies = [{"content": str(n), "platforms": ["twitter-1"]} for n in range(20)]
        answers = await asyncio.gather(
            *(post(one, "a", body=body, url_of=(one, two)[n % 2], key=one.key) for n, body in enumerate(bodies))
        )
        assert sorted(answer.status for answer in answers) == [200] + [409] * 19
        assert await group_count(one) == 1


async def test_old_keys_when_housekeeping_runs_then_only_they_are_forgotten(api):
    await api.connect("twitter-1")
    await post(api, "old")
    await run_sql(api.database, "UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
    await post(api, "new")
    assert await api.services.posts.forget_old_keys() == 1
    assert [row["key"] for row in await run_sql(api.database, "SELECT key FROM idempotency_keys")] == ["new"]
