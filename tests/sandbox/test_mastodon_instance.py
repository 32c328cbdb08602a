import pytest

pytestmark = pytest.mark.anyio

APP = {"client_name": "PostPost", "redirect_uris": "https://app.test/back", "scopes": "read write"}


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_instance_when_asked_then_it_tells_its_limits(client, version):
    data = (await client.call("GET", f"/mastodon/api/{version}/instance")).data
    statuses = data["configuration"]["statuses"]
    assert (statuses["max_characters"], statuses["characters_reserved_per_url"]) == (500, 23)


async def test_app_when_registered_then_its_code_gives_a_token_that_posts(client, account):
    app = (await client.call("POST", "/mastodon/api/v1/apps", data=APP)).data
    form = {
        "grant_type": "authorization_code",
        "code": f"sandbox-code-{account}",
        "client_id": app["client_id"],
        "client_secret": app["client_secret"],
        "redirect_uri": APP["redirect_uris"],
    }
    answer = await client.call("POST", "/mastodon/oauth/token", json=form)
    assert answer.data["scope"] == "read write push"
    assert (await client.toot(account, token=answer.data["access_token"])).status == 200


async def test_app_when_the_redirect_uri_is_missing_then_422(client):
    assert (await client.call("POST", "/mastodon/api/v1/apps", data={"client_name": "PostPost"})).status == 422


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 401, "invalid_client"),
        ({"client_id": "a", "client_secret": "b", "grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": "a", "client_secret": "b", "grant_type": "authorization_code"}, 400, "invalid_grant"),
    ],
)
async def test_token_when_the_form_is_wrong_then_an_oauth_error(client, form, status, error):
    answer = await client.call("POST", "/mastodon/oauth/token", data=form)
    assert (answer.status, answer.data["error"]) == (status, error)


async def test_revoke_when_called_then_the_token_is_dead(client, account):
    form = {"client_id": "a", "client_secret": "b", "token": f"sandbox-{account}"}
    assert (await client.call("POST", "/mastodon/oauth/revoke", data=form)).status == 200
    assert (await client.toot(account)).status == 401


async def test_revoke_when_the_client_is_missing_then_403(client, account):
    answer = await client.call("POST", "/mastodon/oauth/revoke", data={"token": f"sandbox-{account}"})
    assert (answer.status, answer.data["error"]) == (403, "unauthorized_client")
