from datetime import timedelta

import pytest

from postpost.sandbox.mastodon import KEY_WINDOW, content_html, counted_length
from tests.sandbox.support import new_account

pytestmark = pytest.mark.anyio

STATUSES = "/mastodon/api/v1/statuses"


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("plain", 5),
        ("https://a.io", 23),
        ("see https://example.com/" + "a" * 200 + ".", 28),
        ("example.com", 11),
        ("@ann@example.com hi", 7),
        ("@ann hi", 7),
        ("👨‍👩‍👧‍👦", 1),
        ("e\u0301", 1),
        ("#tag", 4),
        (":blob:", 6),
    ],
)
def test_counted_length_when_counted_then_it_is_that_of_mastodon(text, length):
    assert counted_length(text) == length


def test_content_when_the_text_has_markup_then_it_is_escaped():
    assert content_html("<b>&") == "<p>&lt;b&gt;&amp;</p>"


def test_content_when_the_text_has_lines_and_links_then_they_are_html():
    html = content_html("one\ntwo\n\nhttps://a.test/?x=1&y=2")
    assert html.startswith('<p>one<br />two</p><p><a href="https://a.test/?x=1&amp;y=2"')


async def test_create_when_accepted_then_the_status_comes_back(client, account):
    data = (await client.toot(account, "hi", spoiler_text="cw", visibility="unlisted", language="de")).data
    assert data["id"].isdigit()
    assert (data["spoiler_text"], data["visibility"], data["language"]) == ("cw", "unlisted", "de")
    assert data["url"] == f"{client.base}/mastodon/@{account}/{data['id']}"


async def test_create_when_sent_as_a_form_then_it_is_accepted(client, account):
    form = {"status": "a form", "sensitive": "true"}
    answer = await client.call("POST", STATUSES, token=f"sandbox-{account}", data=form)
    assert (answer.data["content"], answer.data["sensitive"]) == ("<p>a form</p>", True)


async def test_create_when_a_form_lists_media_then_they_are_looked_up(client, account):
    form = [("status", "a form"), ("media_ids[]", "1"), ("media_ids[]", "2"), ("media_ids", "3")]
    answer = await client.call("POST", STATUSES, token=f"sandbox-{account}", data=form)
    assert (answer.status, answer.data["error"]) == (422, "Media attachments not found")


@pytest.mark.parametrize(
    "more",
    [
        {"text": "x" * 500},
        {"text": "x" * 498, "spoiler_text": "cw"},
        {"text": "https://a.test/" + "a" * 600 + " " + "x" * 476},
    ],
)
async def test_create_when_500_characters_count_then_it_is_accepted(client, account, more):
    assert (await client.toot(account, **more)).status == 200


@pytest.mark.parametrize(
    "more",
    [
        {"text": "x" * 501},
        {"text": "x" * 499, "spoiler_text": "cw"},
        {"text": "https://a.test/" + "a" * 600 + " " + "x" * 477},
        {"text": " \n "},
        {"text": ""},
        {"text": None},
        {"text": {"a": 1}},
        {"text": ["a"]},
        {"visibility": "secret"},
        {"language": "not a language"},
        {"media_ids": ["1"]},
        {"media_ids": "1"},
        {"media_ids": ["1", "2", "3", "4", "5"]},
        {"scheduled_at": "2030-01-01T00:00:00Z"},
    ],
)
async def test_create_when_the_content_is_invalid_then_422(client, account, more):
    answer = await client.toot(account, **more)
    assert (answer.status, list(answer.data)) == (422, ["error"])


async def test_create_when_the_json_is_broken_then_400(client, account):
    headers = {"Content-Type": "application/json"}
    answer = await client.call("POST", STATUSES, token=f"sandbox-{account}", headers=headers, data=b"{")
    assert answer.status == 400


async def test_create_when_the_body_is_of_another_type_then_it_counts_as_blank(client, account):
    headers = {"Content-Type": "text/plain"}
    answer = await client.call("POST", STATUSES, token=f"sandbox-{account}", headers=headers, data=b"status=hi")
    assert answer.status == 422


@pytest.mark.parametrize("token", [None, "something-else"])
async def test_create_when_the_token_is_missing_or_wrong_then_401(client, token):
    answer = await client.call("POST", STATUSES, token=token, json={"status": "hi"})
    assert (answer.status, answer.data) == (401, {"error": "The access token is invalid"})


async def test_create_when_the_parent_does_not_exist_then_404(client, account):
    answer = await client.toot(account, in_reply_to_id="1")
    assert (answer.status, answer.data) == (404, {"error": "Record not found"})


async def test_create_when_the_parent_exists_then_the_reply_names_it(client, account):
    parent = (await client.toot(account, "one")).data["id"]
    data = (await client.toot(account, "two", in_reply_to_id=parent)).data
    assert (data["in_reply_to_id"], data["in_reply_to_account_id"]) == (parent, account)


async def test_create_when_the_key_is_repeated_then_the_first_status_comes_back(client, account):
    first = (await client.toot(account, "one", key="k")).data
    second = await client.toot(account, "another text", key="k")
    assert (second.status, second.data["id"], second.data["content"]) == (200, first["id"], "<p>one</p>")


async def test_create_when_the_key_is_another_accounts_then_a_new_status(client, account):
    await client.toot(new_account(), key="k")
    await client.toot(account, key="k")
    assert len(await client.posts("mastodon", account)) == 1


async def test_create_when_the_key_is_an_hour_old_then_a_new_status(client, account):
    await client.toot(account, key="k")
    client.clock.advance(KEY_WINDOW + timedelta(seconds=1))
    await client.toot(account, key="k")
    assert len(await client.posts("mastodon", account)) == 2


async def test_create_when_the_same_text_comes_without_a_key_then_both_are_kept(client, account):
    await client.toot(account)
    await client.toot(account)
    assert len(await client.posts("mastodon", account)) == 2


async def test_statuses_when_listed_then_the_newest_comes_first(client, account):
    ids = [(await client.toot(account, text)).data["id"] for text in ("one", "two", "three")]
    path = f"/mastodon/api/v1/accounts/{account}/statuses"
    answer = await client.call("GET", f"{path}?limit=2&exclude_reblogs=true", token=f"sandbox-{account}")
    assert [status["id"] for status in answer.data] == ids[:0:-1]


@pytest.mark.parametrize(
    ("query", "shown"), [("since_id={0}", [2, 1]), ("min_id={0}&limit=1", [1]), ("max_id={1}", [0])]
)
async def test_statuses_when_an_id_bounds_them_then_the_others_are_left_out(client, account, query, shown):
    ids = [(await client.toot(account, text)).data["id"] for text in ("one", "two", "three")]
    path = f"/mastodon/api/v1/accounts/{account}/statuses?{query.format(*ids)}"
    assert [status["id"] for status in (await client.call("GET", path)).data] == [ids[at] for at in shown]


async def test_statuses_when_replies_are_excluded_then_they_are_left_out(client, account):
    parent = (await client.toot(account, "one")).data["id"]
    await client.toot(account, "two", in_reply_to_id=parent)
    path = f"/mastodon/api/v1/accounts/{account}/statuses?exclude_replies=true"
    assert [status["id"] for status in (await client.call("GET", path)).data] == [parent]


async def test_statuses_when_private_then_only_the_author_sees_them(client, account):
    await client.toot(account, visibility="private")
    path = f"/mastodon/api/v1/accounts/{account}/statuses"
    answers = [await client.call("GET", path, token=token) for token in (f"sandbox-{account}", None)]
    assert [len(answer.data) for answer in answers] == [1, 0]


@pytest.mark.parametrize(("query", "status"), [("limit=0", 400), ("since_id=abc", 400), ("", 404)])
async def test_statuses_when_the_account_or_a_parameter_is_wrong_then_an_error(client, account, query, status):
    assert (await client.call("GET", f"/mastodon/api/v1/accounts/{account}/statuses?{query}")).status == status


async def test_status_when_read_by_anyone_then_it_is_shown(client, account):
    post_id = (await client.toot(account)).data["id"]
    assert (await client.call("GET", f"{STATUSES}/{post_id}")).data["account"]["id"] == account


async def test_source_when_read_by_the_author_then_it_is_plain_text(client, account):
    post_id = (await client.toot(account, "a <b> c", spoiler_text="cw")).data["id"]
    answer = await client.call("GET", f"{STATUSES}/{post_id}/source", token=f"sandbox-{account}")
    assert answer.data == {"id": post_id, "text": "a <b> c", "spoiler_text": "cw"}


@pytest.mark.parametrize(("method", "suffix"), [("GET", "/source"), ("DELETE", "")])
async def test_status_when_it_is_a_strangers_then_404(client, account, method, suffix):
    post_id = (await client.toot(new_account())).data["id"]
    answer = await client.call(method, f"{STATUSES}/{post_id}{suffix}", token=f"sandbox-{account}")
    assert answer.status == 404


async def test_delete_when_the_status_is_own_then_it_is_gone(client, account):
    post_id = (await client.toot(account)).data["id"]
    answer = await client.call("DELETE", f"{STATUSES}/{post_id}", token=f"sandbox-{account}")
    assert (answer.data["text"], (await client.call("GET", f"{STATUSES}/{post_id}")).status) == ("hello", 404)


async def test_verify_credentials_when_called_then_the_account_is_named(client, account):
    path = "/mastodon/api/v1/accounts/verify_credentials"
    data = (await client.call("GET", path, token=f"sandbox-{account}")).data
    assert (data["id"], data["username"], data["source"]["privacy"]) == (account, account, "public")
