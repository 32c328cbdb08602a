from datetime import timedelta

import pytest

from tests.sandbox.support import new_account

pytestmark = pytest.mark.anyio


async def timeline(client, account, query="", *, token=None):
    path = f"/twitter/2/users/{account}/tweets?{query}"
    return await client.call("GET", path, token=token or f"sandbox-{account}")


async def test_timeline_when_there_are_posts_then_the_newest_comes_first(client, account):
    ids = [(await client.tweet(account, text)).data["data"]["id"] for text in ("one", "two", "three")]
    answer = await timeline(client, account)
    assert [post["id"] for post in answer.data["data"]] == ids[::-1]
    assert answer.data["meta"] == {"result_count": 3, "newest_id": ids[2], "oldest_id": ids[0]}


async def test_timeline_when_there_is_no_post_then_no_data(client, account):
    assert (await timeline(client, account)).data == {"meta": {"result_count": 0}}


async def test_timeline_when_no_field_is_asked_for_then_id_and_text_only(client, account):
    await client.tweet(account)
    assert (await timeline(client, account)).data["data"][0].keys() == {"id", "text"}


async def test_timeline_when_a_since_id_is_given_then_only_later_posts(client, account):
    ids = [(await client.tweet(account, text)).data["data"]["id"] for text in ("one", "two")]
    answer = await timeline(client, account, f"since_id={ids[0]}")
    assert [post["id"] for post in answer.data["data"]] == ids[1:]


async def test_timeline_when_a_start_time_is_given_then_only_later_posts(client, account):
    await client.tweet(account, "early")
    client.clock.advance(timedelta(minutes=2))
    start = (client.clock() - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await client.tweet(account, "late")
    answer = await timeline(client, account, f"start_time={start}")
    assert [post["text"] for post in answer.data["data"]] == ["late"]


async def test_timeline_when_there_is_more_then_the_token_leads_on(client, account):
    for number in range(7):
        await client.tweet(account, f"post {number}")
    first = await timeline(client, account, "max_results=5")
    token = first.data["meta"]["next_token"]
    second = await timeline(client, account, f"max_results=5&pagination_token={token}")
    assert [len(page.data["data"]) for page in (first, second)] == [5, 2]
    assert "next_token" not in second.data["meta"]


async def test_timeline_when_replies_are_excluded_then_they_are_left_out(client, account):
    parent = (await client.tweet(account, "one")).data["data"]["id"]
    await client.tweet(account, "two", reply={"in_reply_to_tweet_id": parent})
    answer = await timeline(client, account, "exclude=replies,retweets")
    assert [post["text"] for post in answer.data["data"]] == ["one"]


@pytest.mark.parametrize(
    "query",
    ["max_results=4", "max_results=101", "max_results=many", "tweet.fields=colour", "start_time=2026-01-01T00:00:00"],
)
async def test_timeline_when_a_parameter_is_wrong_then_invalid_request(client, account, query):
    assert (await timeline(client, account, query)).status == 400


@pytest.mark.parametrize(
    ("query", "references", "history", "included"),
    [
        (
            "tweet.fields=conversation_id,edit_history_tweet_ids&expansions=referenced_tweets.id",
            "referenced_tweets",
            "edit_history_tweet_ids",
            "tweets",
        ),
        (
            "post.fields=conversation_id,edit_history_post_ids&expansions=referenced_posts",
            "referenced_posts",
            "edit_history_post_ids",
            "posts",
        ),
    ],
)
async def test_timeline_when_references_are_asked_for_then_they_have_the_dialects_name(
    client, account, query, references, history, included
):
    parent = (await client.tweet(account, "one")).data["data"]["id"]
    await client.tweet(account, "two", reply={"in_reply_to_tweet_id": parent})
    answer = await timeline(client, account, query)
    newest = answer.data["data"][0]
    assert newest[references] == [{"type": "replied_to", "id": parent}]
    assert (newest["conversation_id"], newest[history]) == (parent, [newest["id"]])
    assert answer.data["includes"][included][0]["id"] == parent


async def test_timeline_when_a_text_has_links_then_they_are_shortened_and_listed(client, account):
    await client.tweet(account, "a & b https://example.com/x?y=1 and a.co")
    post = (await timeline(client, account, "tweet.fields=entities")).data["data"][0]
    links = post["entities"]["urls"]
    assert [link["expanded_url"] for link in links] == ["https://example.com/x?y=1", "http://a.co"]
    assert post["text"] == f"a &amp; b {links[0]['url']} and {links[1]['url']}"
    assert [post["text"][link["start"] : link["end"]] for link in links] == [link["url"] for link in links]


async def test_post_when_read_then_it_is_shown(client, account):
    post_id = (await client.tweet(account)).data["data"]["id"]
    path = f"/twitter/2/tweets/{post_id}?expansions=author_id"
    answer = await client.call("GET", path, token=f"sandbox-{new_account()}")
    assert answer.data["data"] == {"id": post_id, "text": "hello", "author_id": account}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_post_when_it_does_not_exist_then_not_found(client, account, method):
    answer = await client.call(method, "/twitter/2/tweets/1", token=f"sandbox-{account}")
    assert (answer.status, answer.data["title"]) == (404, "Not Found Error")
