from datetime import timedelta

import pytest

from postpost.sandbox.twitter import DUPLICATE_WINDOW, weighted_length
from tests.sandbox.support import new_account

pytestmark = pytest.mark.anyio

TOKEN_CALL = "/twitter/2/oauth2/token"


async def refresh(client, token, **more):
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "app", **more}
    return await client.call("POST", TOKEN_CALL, data=form)


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("", 0),
        ("plain", 5),
        ("two\r\nlines", 9),
        ("a sentence. And another.", 24),
        ("see https://example.com/" + "a" * 200, 27),
        ("a.co", 23),
        ("foo.js", 6),
        ("“quoted”", 8),
        ("€…", 4),
        ("👨‍👩‍👧‍👦", 2),
        ("日本", 4),
        ("e\u0301", 1),
    ],
)
def test_weighted_length_when_counted_then_it_is_that_of_x(text, weight):
    assert weighted_length(text) == weight


@pytest.mark.parametrize("character", ["\ufffe", "\uffff", "\ufeff"])
def test_weighted_length_when_a_character_is_invalid_then_none(character):
    assert weighted_length(f"a{character}") is None


async def test_create_when_accepted_then_id_and_text_come_back(client, account):
    answer = await client.tweet(account, "tea & <cake>")
    assert answer.status == 201
    assert answer.data["data"]["id"].isdigit()
    assert answer.data["data"]["text"] == "tea &amp; &lt;cake&gt;"


@pytest.mark.parametrize("text", ["x" * 280, "日" * 140, "https://example.com/" + "a" * 400 + " " + "b" * 256])
async def test_create_when_the_text_weighs_280_then_it_is_accepted(client, account, text):
    assert (await client.tweet(account, text)).status == 201


@pytest.mark.parametrize("text", ["x" * 281, "日" * 141, "https://example.com/" + "a" * 400 + " " + "b" * 257, " ", ""])
async def test_create_when_the_text_is_too_long_or_blank_then_invalid_request(client, account, text):
    answer = await client.tweet(account, text)
    assert (answer.status, answer.data["title"]) == (400, "Invalid Request")


@pytest.mark.parametrize(
    "body",
    [
        {"colour": "red"},
        {"text": 5},
        {"text": None},
        {"reply": {"in_reply_to_tweet_id": 5}},
        {"reply": {}},
        {"reply": {"in_reply_to_tweet_id": "abc"}},
        {"reply_settings": "nobody"},
        {"media": {"media_ids": []}},
        {"media": {"media_ids": ["1", "2", "3", "4", "5"]}},
        {"media": {"media_ids": ["1"]}},
        {"media": {"media_ids": ["1"], "alt": "x"}},
        {"poll": {"options": ["one"], "duration_minutes": 5}},
        {"made_with_ai": "yes"},
    ],
)
async def test_create_when_the_body_is_wrong_then_invalid_request(client, account, body):
    answer = await client.tweet(account, **body)
    assert (answer.status, answer.data["type"].rpartition("/")[2]) == (400, "invalid-request")


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b'{"text":"\xff"}'])
async def test_create_when_the_body_is_no_object_then_invalid_request(client, account, data):
    headers = {"Content-Type": "application/json"}
    answer = await client.call("POST", "/twitter/2/tweets", token=f"sandbox-{account}", headers=headers, data=data)
    assert answer.status == 400


async def test_create_when_the_content_type_is_not_json_then_invalid_request(client, account):
    answer = await client.call("POST", "/twitter/2/tweets", token=f"sandbox-{account}", data={"text": "hello"})
    assert answer.status == 400


@pytest.mark.parametrize("token", [None, "something-else", "sandbox-", "sandbox-refresh-5-1", "sandbox-code-5"])
async def test_call_when_the_token_is_missing_or_wrong_then_unauthorized(client, token):
    answer = await client.call("GET", "/twitter/2/users/me", token=token)
    assert (answer.status, answer.data["title"]) == (401, "Unauthorized")


async def test_create_when_the_same_text_comes_again_then_duplicate(client, account):
    await client.tweet(account, "again")
    answer = await client.tweet(account, "again")
    assert (answer.status, "duplicate content" in answer.data["detail"]) == (403, True)


async def test_create_when_the_same_text_has_another_parent_then_duplicate(client, account):
    parent = (await client.tweet(account, "again")).data["data"]["id"]
    assert (await client.tweet(account, "again", reply={"in_reply_to_tweet_id": parent})).status == 403


async def test_create_when_the_window_is_over_then_the_same_text_is_accepted(client, account):
    await client.tweet(account, "again")
    client.clock.advance(DUPLICATE_WINDOW + timedelta(seconds=1))
    assert (await client.tweet(account, "again")).status == 201


async def test_create_when_the_earlier_post_is_deleted_then_the_same_text_is_accepted(client, account):
    post_id = (await client.tweet(account, "again")).data["data"]["id"]
    await client.call("DELETE", f"/twitter/2/tweets/{post_id}", token=f"sandbox-{account}")
    assert (await client.tweet(account, "again")).status == 201


async def test_create_when_the_parent_does_not_exist_then_forbidden(client, account):
    answer = await client.tweet(account, reply={"in_reply_to_tweet_id": "1"})
    assert (answer.status, "deleted or not visible" in answer.data["detail"]) == (403, True)


async def test_create_when_the_parent_is_a_strangers_then_forbidden(client, account):
    parent = (await client.tweet(new_account())).data["data"]["id"]
    assert (await client.tweet(account, reply={"in_reply_to_tweet_id": parent})).status == 403


async def test_create_when_the_strangers_post_mentions_the_account_then_the_reply_is_accepted(client, account):
    parent = (await client.tweet(new_account(), f"hello @user_{account}")).data["data"]["id"]
    assert (await client.tweet(account, reply={"in_reply_to_tweet_id": parent})).status == 201


async def test_create_when_it_replies_to_an_own_post_then_the_thread_is_kept(client, account):
    first = (await client.tweet(account, "one")).data["data"]["id"]
    await client.tweet(account, "two", reply={"in_reply_to_tweet_id": first})
    assert [post["replyTo"] for post in await client.posts("twitter", account)] == [None, first]


@pytest.mark.parametrize("more", [{"quote_tweet_id": "1"}, {"text": "$AAPL and $MSFT"}])
async def test_create_when_the_plan_does_not_allow_it_then_forbidden(client, account, more):
    assert (await client.tweet(account, **more)).status == 403


async def test_delete_when_the_post_is_own_then_it_is_gone(client, account):
    post_id = (await client.tweet(account)).data["data"]["id"]
    answer = await client.call("DELETE", f"/twitter/2/tweets/{post_id}", token=f"sandbox-{account}")
    assert (answer.data, await client.posts("twitter", account)) == ({"data": {"deleted": True}}, [])


async def test_delete_when_the_post_is_a_strangers_then_forbidden(client, account):
    post_id = (await client.tweet(new_account())).data["data"]["id"]
    assert (await client.call("DELETE", f"/twitter/2/tweets/{post_id}", token=f"sandbox-{account}")).status == 403


async def test_me_when_fields_are_asked_for_then_they_come_too(client, account):
    path = "/twitter/2/users/me?user.fields=profile_image_url,verified"
    data = (await client.call("GET", path, token=f"sandbox-{account}")).data["data"]
    assert data.keys() == {"id", "name", "username", "profile_image_url", "verified"}
    assert (data["id"], data["username"]) == (account, f"user_{account}")


async def test_me_when_the_account_is_percent_encoded_then_it_is_decoded(client):
    answer = await client.call("GET", "/twitter/2/users/me", token="sandbox-an%20odd%2Fname")
    assert answer.data["data"]["id"] == "an odd/name"


async def test_refresh_when_the_token_is_new_then_both_tokens_rotate(client, account):
    data = (await refresh(client, f"sandbox-refresh-{account}-3")).data
    assert (data["access_token"], data["refresh_token"]) == (f"sandbox-{account}.4", f"sandbox-refresh-{account}-4")
    assert data["expires_in"] == 7200


async def test_refresh_when_the_token_was_used_then_it_is_dead(client, account):
    await refresh(client, f"sandbox-refresh-{account}-0")
    answer = await refresh(client, f"sandbox-refresh-{account}-0")
    assert (answer.status, answer.data["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"client_id": ""}, 401),
        ({"grant_type": "password"}, 400),
        ({"refresh_token": "nonsense"}, 400),
    ],
)
async def test_refresh_when_the_form_is_wrong_then_an_oauth_error(client, account, change, status):
    answer = await refresh(client, f"sandbox-refresh-{account}-0", **change)
    assert (answer.status, set(answer.data)) == (status, {"error", "error_description"})


async def test_refresh_when_the_client_uses_basic_then_no_client_id_is_needed(client, account):
    form = {"grant_type": "refresh_token", "refresh_token": f"sandbox-refresh-{account}-0"}
    answer = await client.call("POST", TOKEN_CALL, data=form, headers={"Authorization": "Basic YTpi"})
    assert answer.status == 200


async def test_code_when_exchanged_then_the_token_acts_for_the_account(client, account):
    form = {
        "grant_type": "authorization_code",
        "code": f"sandbox-code-{account}",
        "redirect_uri": "https://app.test/back",
        "code_verifier": "v" * 43,
        "client_id": "app",
    }
    token = (await client.call("POST", TOKEN_CALL, data=form)).data["access_token"]
    assert (await client.tweet(account, token=token)).status == 201


async def test_code_when_the_verifier_is_missing_then_an_oauth_error(client, account):
    form = {"grant_type": "authorization_code", "code": f"sandbox-code-{account}", "client_id": "app"}
    assert (await client.call("POST", TOKEN_CALL, data=form)).status == 400


async def test_auth_expired_when_the_token_is_renewed_then_the_new_one_works(client, account):
    await client.fault("twitter", account, "auth_expired")
    assert (await client.tweet(account)).status == 401
    token = (await refresh(client, f"sandbox-refresh-{account}-0")).data["access_token"]
    assert (await client.tweet(account, token=token)).status == 201
    assert (await client.tweet(account, "other")).status == 401


async def test_auth_expired_when_it_strikes_twice_then_the_renewed_token_is_refused_too(client, account):
    await client.fault("twitter", account, "auth_expired", times=2)
    await client.tweet(account)
    token = (await refresh(client, f"sandbox-refresh-{account}-0")).data["access_token"]
    assert (await client.tweet(account, token=token)).status == 401


async def test_revoke_when_called_then_the_token_is_dead(client, account):
    form = {"token": f"sandbox-{account}", "client_id": "app"}
    await client.call("POST", "/twitter/2/oauth2/revoke", data=form)
    assert (await client.tweet(account)).status == 401
