from datetime import timedelta
from urllib.parse import quote

import pytest

from postpost.sandbox.linkedin import DUPLICATE_WINDOW
from tests.sandbox.support import LINKEDIN_HEADERS, new_account, share_body

pytestmark = pytest.mark.anyio

TOKEN_CALL = "/linkedin/oauth/v2/accessToken"
MEDIUM = {"id": "urn:li:image:1"}


async def find(client, account, query="", *, reader=True, author=None):
    urn = quote(f"urn:li:person:{author or account}", safe="")
    token = f"sandbox-reader-{account}" if reader else f"sandbox-{account}"
    path = f"/linkedin/rest/posts?q=author&author={urn}{query}"
    return await client.call("GET", path, token=token, headers=LINKEDIN_HEADERS)


async def test_create_when_accepted_then_the_urn_is_in_a_header(client, account):
    answer = await client.share(account)
    assert (answer.status, answer.text) == (201, "")
    assert answer.headers["x-restli-id"].startswith("urn:li:share:")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"LinkedIn-Version": None}, 400, "VERSION_MISSING"),
        ({"LinkedIn-Version": "2026-09"}, 400, "INVALID_VERSION"),
        ({"LinkedIn-Version": "202613"}, 400, "INVALID_VERSION"),
        ({"LinkedIn-Version": "202511"}, 426, "NONEXISTENT_VERSION"),
        ({"X-Restli-Protocol-Version": None}, 400, "INVALID_PROTOCOL_VERSION"),
        ({"X-Restli-Protocol-Version": "1.0.0"}, 400, "INVALID_PROTOCOL_VERSION"),
        ({"Content-Type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_create_when_a_header_is_missing_or_wrong_then_it_says_which(client, account, headers, status, code):
    sent = {name: value for name, value in (LINKEDIN_HEADERS | headers).items() if value is not None}
    answer = await client.share(account, headers=sent)
    assert (answer.status, answer.data["code"]) == (status, code)


@pytest.mark.parametrize(("token", "code"), [(None, 65604), ("something-else", 65600), ("sandbox-refresh-5-1", 65600)])
async def test_call_when_the_token_is_missing_or_wrong_then_401(client, token, code):
    answer = await client.call("GET", "/linkedin/v2/userinfo", token=token)
    assert (answer.status, answer.data["serviceErrorCode"]) == (401, code)


async def test_call_when_the_token_is_expired_then_401_with_65602(client, account):
    await client.fault("linkedin", account, "auth_expired")
    answer = await client.share(account)
    assert (answer.status, answer.data["serviceErrorCode"]) == (401, 65602)


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"commentary": 5},
        {"visibility": "SECRET"},
        {"lifecycleState": "DRAFT"},
        {"distribution": {"feedDistribution": "MAIN_FEED", "colour": "red"}},
        {"distribution": {}},
        {"content": {}},
        {"content": {"media": MEDIUM, "article": {"source": "https://a.test", "title": "a"}}},
        {"content": {"multiImage": {"images": [MEDIUM]}}},
        {"content": {"article": {"source": "https://a.test"}}},
        {"commentary": ""},
        {"commentary": " \n"},
    ],
)
async def test_create_when_the_body_is_wrong_then_422(client, account, change):
    answer = await client.share(account, **change)
    assert (answer.status, answer.error["input"]["inputPath"]["fieldPath"][0]) == (422, "/")


@pytest.mark.parametrize("missing", ["author", "commentary", "visibility", "distribution", "lifecycleState"])
async def test_create_when_a_field_is_missing_then_422(client, account, missing):
    body = {name: value for name, value in share_body(account).items() if name != missing}
    answer = await client.call(
        "POST", "/linkedin/rest/posts", token=f"sandbox-{account}", headers=LINKEDIN_HEADERS, json=body
    )
    assert answer.status == 422


async def test_create_when_the_body_is_not_json_then_400(client, account):
    headers = LINKEDIN_HEADERS | {"Content-Type": "application/json"}
    answer = await client.call(
        "POST", "/linkedin/rest/posts", token=f"sandbox-{account}", headers=headers, data=b"no json"
    )
    assert answer.status == 400


async def test_create_when_the_author_is_another_then_denied(client, account):
    answer = await client.share(account, author="urn:li:person:other")
    assert (answer.status, answer.data["code"]) == (403, "ACCESS_DENIED")


async def test_create_when_an_upload_is_unknown_then_invalid_urn(client, account):
    answer = await client.share(account, content={"media": MEDIUM})
    assert (answer.status, answer.error["code"]) == (422, "INVALID_URN_ID")


async def test_create_when_a_link_card_is_added_then_it_is_accepted(client, account):
    card = {"article": {"source": "https://a.test/x", "title": "A page"}}
    assert (await client.share(account, content=card)).status == 201


@pytest.mark.parametrize("text", ["x" * 3000, "\\_" * 3000])
async def test_create_when_3000_characters_remain_without_escapes_then_it_is_accepted(client, account, text):
    assert (await client.share(account, text)).status == 201


@pytest.mark.parametrize("text", ["x" * 3001, "\\_" * 3001])
async def test_create_when_3001_characters_remain_without_escapes_then_too_long(client, account, text):
    answer = await client.share(account, text)
    assert (answer.status, answer.error["code"]) == (422, "FIELD_LENGTH_TOO_LONG")


async def test_create_when_a_reserved_character_is_unescaped_then_the_text_is_cut_there(client, account):
    await client.share(account, "half (the rest is lost)")
    assert await client.texts("linkedin", account) == ["half "]


async def test_create_when_everything_is_escaped_then_readers_see_no_escapes(client, account):
    await client.share(account, r"C\# \(sharp\) a\_b\@x.io")
    assert await client.texts("linkedin", account) == ["C# (sharp) a_b@x.io"]


async def test_create_when_the_same_text_comes_again_then_the_duplicate_is_named(client, account):
    urn = (await client.share(account)).headers["x-restli-id"]
    answer = await client.share(account)
    assert (answer.status, answer.error["code"]) == (422, "DUPLICATE_POST")
    assert answer.data["message"] == f"Content is a duplicate of {urn}"


async def test_create_when_the_duplicate_was_deleted_then_it_is_named_all_the_same(client, account):
    urn = (await client.share(account)).headers["x-restli-id"]
    path = f"/linkedin/rest/posts/{quote(urn, safe='')}"
    for _ in range(2):
        answer = await client.call("DELETE", path, token=f"sandbox-{account}", headers=LINKEDIN_HEADERS)
        assert answer.status == 204
    assert urn in (await client.share(account)).data["message"]


async def test_create_when_ten_minutes_are_over_then_the_same_text_is_accepted(client, account):
    await client.share(account)
    client.clock.advance(DUPLICATE_WINDOW + timedelta(seconds=1))
    assert (await client.share(account)).status == 201


async def test_find_when_the_token_may_read_then_the_newest_comes_first(client, account):
    urns = [(await client.share(account, text)).headers["x-restli-id"] for text in ("one", r"two \_")]
    elements = (await find(client, account, "&count=20&sortBy=CREATED")).data["elements"]
    assert [element["id"] for element in elements] == urns[::-1]
    assert elements[0]["commentary"] == r"two \_"
    assert abs(elements[0]["createdAt"] / 1000 - client.clock().timestamp()) < 10


async def test_find_when_the_token_may_not_read_then_denied(client, account):
    answer = await find(client, account, reader=False)
    assert (answer.status, answer.data["code"]) == (403, "ACCESS_DENIED")


async def test_find_when_the_author_is_another_then_denied(client, account):
    assert (await find(client, account, author="other")).status == 403


async def test_find_when_the_count_is_wrong_then_400(client, account):
    assert (await find(client, account, "&count=101")).status == 400


async def test_post_when_read_by_its_urn_then_it_is_shown(client, account):
    urn = (await client.share(account)).headers["x-restli-id"]
    path = f"/linkedin/rest/posts/{quote(urn, safe='')}"
    answer = await client.call("GET", path, token=f"sandbox-reader-{account}", headers=LINKEDIN_HEADERS)
    assert (answer.data["id"], answer.data["author"]) == (urn, f"urn:li:person:{account}")


async def test_post_when_it_does_not_exist_then_404(client, account):
    path = "/linkedin/rest/posts/urn%3Ali%3Ashare%3A1"
    answer = await client.call("GET", path, token=f"sandbox-reader-{account}", headers=LINKEDIN_HEADERS)
    assert answer.status == 404


async def test_delete_when_the_post_is_a_strangers_then_denied(client, account):
    urn = (await client.share(new_account())).headers["x-restli-id"]
    path = f"/linkedin/rest/posts/{quote(urn, safe='')}"
    answer = await client.call("DELETE", path, token=f"sandbox-{account}", headers=LINKEDIN_HEADERS)
    assert answer.status == 403


async def test_userinfo_when_called_then_sub_is_the_account(client, account):
    answer = await client.call("GET", "/linkedin/v2/userinfo", token=f"sandbox-{account}")
    assert (answer.status, answer.data["sub"]) == (200, account)


@pytest.mark.parametrize("path", ["/v2/me", "/rest/me"])
async def test_me_when_called_then_denied(client, account, path):
    assert (await client.call("GET", f"/linkedin{path}", token=f"sandbox-{account}")).status == 403


@pytest.mark.parametrize(
    ("grant", "scopes"),
    [
        ("sandbox-code-{}", "openid,profile,w_member_social"),
        ("sandbox-code-reader-{}", "openid,profile,r_member_social,w_member_social"),
    ],
)
async def test_code_when_exchanged_then_the_scopes_are_those_of_the_code(client, account, grant, scopes):
    form = {
        "grant_type": "authorization_code",
        "code": grant.format(account),
        "redirect_uri": "https://app.test/back",
        "client_id": "app",
        "client_secret": "secret",
    }
    data = (await client.call("POST", TOKEN_CALL, data=form)).data
    assert data["scope"] == scopes
    assert (await client.share(account, token=data["access_token"])).status == 201


async def test_refresh_when_the_token_is_known_then_new_tokens(client, account):
    form = {
        "grant_type": "refresh_token",
        "refresh_token": f"sandbox-refresh-{account}-0",
        "client_id": "app",
        "client_secret": "secret",
    }
    data = (await client.call("POST", TOKEN_CALL, data=form)).data
    assert data["access_token"] == f"sandbox-{account}.1"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "refresh_token", "client_id": "a", "client_secret": "b"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "client_id": "a"}, "invalid_request"),
        ({"grant_type": "authorization_code", "client_id": "a", "client_secret": "b"}, "invalid_request"),
    ],
)
async def test_token_when_the_form_is_wrong_then_an_oauth_error(client, form, error):
    answer = await client.call("POST", TOKEN_CALL, data=form)
    assert (answer.status, answer.data["error"]) == (400, error)
