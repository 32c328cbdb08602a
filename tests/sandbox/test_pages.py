from datetime import UTC, datetime, timedelta

import pytest

from postpost.sandbox.pages import link_text, threads
from postpost.sandbox.state import StoredPost

pytestmark = pytest.mark.anyio

NASTY = '<script>alert(1)</script> & "quotes" https://a.test/?x=1&y=<b>'


def stored(post_id, reply_to=None, minute=0):
    created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    return StoredPost(post_id, "1", post_id, created, reply_to=reply_to)


def test_link_text_when_there_is_markup_then_it_is_escaped():
    assert "<script" not in link_text(NASTY)
    assert "&lt;script&gt;" in link_text(NASTY)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("see https://a.test/x.", "https://a.test/x"),
        ("(http://a.test)", "http://a.test"),
        ("https://a.test/?x=1&y=2", "https://a.test/?x=1&amp;y=2"),
    ],
)
def test_link_text_when_there_is_a_link_then_search_engines_ignore_it(text, address):
    assert f'<a href="{address}" rel="nofollow noopener noreferrer">{address}</a>' in link_text(text)


@pytest.mark.parametrize("text", ["javascript:alert(1)", "https://", "a.test"])
def test_link_text_when_it_is_no_web_address_then_no_link(text):
    assert "<a" not in link_text(text)


def test_threads_when_posts_answer_each_other_then_they_are_together():
    posts = [stored("d", "b", 4), stored("c", None, 3), stored("b", "a", 2), stored("a", None, 1)]
    assert [[post.id for post in thread] for thread in threads(posts)] == [["a", "b", "d"], ["c"]]


def test_threads_when_a_parent_is_not_shown_then_the_reply_begins_a_thread():
    assert [[post.id for post in thread] for thread in threads([stored("b", "a")])] == [["b"]]


@pytest.mark.parametrize(
    "path", ["/_sandbox/", "/_sandbox/twitter", "/_sandbox/twitter/", "/_sandbox/twitter/never-used"]
)
async def test_page_when_opened_then_it_is_html_without_scripts(client, path):
    answer = await client.call("GET", path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<script" not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


async def test_index_when_opened_then_it_lists_every_platform(client):
    page = (await client.call("GET", "/_sandbox/")).text
    assert all(f'href="/_sandbox/{key}"' in page for key in ("twitter", "linkedin", "bluesky", "mastodon"))


@pytest.mark.parametrize("suffix", ["", "/{account}"])
async def test_page_when_a_post_has_markup_then_it_is_escaped(client, account, suffix):
    await client.toot(account, NASTY)
    page = (await client.call("GET", "/_sandbox/mastodon" + suffix.format(account=account))).text
    assert "<script" not in page
    assert "&lt;script&gt;" in page


async def test_page_when_an_account_name_has_markup_then_it_is_escaped(client):
    await client.toot("x", "hello", token="sandbox-%3Ci%3Ename%22")
    pages = [
        (await client.call("GET", path)).text for path in ("/_sandbox/mastodon", "/_sandbox/mastodon/%3Ci%3Ename%22")
    ]
    assert not any("<i>" in page for page in pages)
    assert 'href="/_sandbox/mastodon/%3Ci%3Ename%22"' in pages[0]


async def test_account_page_when_there_is_a_thread_then_it_is_one_article(client, account):
    first = (await client.tweet(account, "one")).data["data"]["id"]
    await client.tweet(account, "two", reply={"in_reply_to_tweet_id": first})
    page = (await client.call("GET", f"/_sandbox/twitter/{account}")).text
    assert (page.count("<article"), page.count('<section class="post">')) == (1, 2)


async def test_account_page_when_a_fault_waits_then_it_is_shown(client, account):
    await client.fault("twitter", account, "rate_limited", times=3)
    assert "rate_limited" in (await client.call("GET", f"/_sandbox/twitter/{account}")).text


async def test_style_when_fetched_then_it_is_css(client):
    answer = await client.call("GET", "/_sandbox/style.css")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
