import base64
import json
from datetime import timedelta

import pytest

from tests.sandbox.support import APP_PASSWORD

pytestmark = pytest.mark.anyio

CREATE, REFRESH = "com.atproto.server.createSession", "com.atproto.server.refreshSession"
SESSION, RESOLVE = "com.atproto.server.getSession", "com.atproto.identity.resolveHandle"


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def test_session_when_created_then_the_tokens_name_the_did_and_their_end(client, did):
    session = await client.login(did)
    access, refresh = claims(session["accessJwt"]), claims(session["refreshJwt"])
    assert (session["did"], access["sub"], refresh["sub"]) == (did, did, did)
    assert (access["exp"] - access["iat"], refresh["exp"] - refresh["iat"]) == (7200, 90 * 86_400)
    assert (access["scope"], refresh["scope"]) == ("com.atproto.appPass", "com.atproto.refresh")


async def test_session_when_created_with_a_handle_then_it_is_that_of_the_did(client):
    did = (await client.xrpc(RESOLVE, params={"handle": "ann.example.com"})).data["did"]
    session = await client.login("Ann.Example.com")
    assert (session["did"], session["handle"]) == (did, "ann.example.com")


async def test_session_when_created_with_a_did_then_its_handle_resolves_to_it(client, did):
    handle = (await client.login(did))["handle"]
    assert (await client.xrpc(RESOLVE, params={"handle": handle})).data == {"did": did}


@pytest.mark.parametrize(
    ("identifier", "password"),
    [
        ("did:plc:abc", "hunter2"),
        ("did:plc:abc", "ABCD-efgh-2345-wxyz"),
        ("did:plc:abc", "abcd-efgh-2345"),
        ("ann.invalid", APP_PASSWORD),
        ("no handle", APP_PASSWORD),
        ("", APP_PASSWORD),
    ],
)
async def test_session_when_the_name_or_the_password_is_wrong_then_401(client, identifier, password):
    answer = await client.xrpc(CREATE, json={"identifier": identifier, "password": password})
    assert (answer.status, answer.data["error"]) == (401, "AuthenticationRequired")


@pytest.mark.parametrize("body", [{}, {"identifier": "did:plc:abc"}, {"identifier": 5, "password": APP_PASSWORD}])
async def test_session_when_the_input_is_wrong_then_invalid_request(client, body):
    assert (await client.xrpc(CREATE, json=body)).data["error"] == "InvalidRequest"


async def test_session_when_read_then_it_says_who(client, did):
    session = await client.login(did)
    data = (await client.xrpc(SESSION, token=session["accessJwt"])).data
    assert (data["did"], data["handle"], data["active"]) == (did, session["handle"], True)


@pytest.mark.parametrize(
    ("token", "status", "error"),
    [
        (None, 401, "AuthMissing"),
        ("garbage", 400, "InvalidToken"),
        ("a.b.c", 400, "InvalidToken"),
        ("sandbox-did:plc:abc", 400, "InvalidToken"),
    ],
)
async def test_session_when_the_token_is_missing_or_broken_then_it_is_refused(client, token, status, error):
    answer = await client.xrpc(SESSION, token=token)
    assert (answer.status, answer.data["error"]) == (status, error)


async def test_session_when_the_claims_were_changed_then_invalid_token(client, did):
    head, payload, signature = (await client.login(did))["accessJwt"].split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(f".{payload}.") | {"sub": "did:plc:x"}).encode()).decode()
    answer = await client.xrpc(SESSION, token=f"{head}.{forged.rstrip('=')}.{signature}")
    assert answer.data["error"] == "InvalidToken"


@pytest.mark.parametrize(("nsid", "kind"), [(SESSION, "refreshJwt"), (REFRESH, "accessJwt")])
async def test_token_when_it_is_of_the_other_kind_then_invalid_token(client, did, nsid, kind):
    answer = await client.xrpc(nsid, token=(await client.login(did))[kind])
    assert (answer.status, answer.data["error"]) == (400, "InvalidToken")


async def test_access_token_when_two_hours_are_over_then_expired_token(client, did):
    session = await client.login(did)
    client.clock.advance(timedelta(minutes=121))
    answer = await client.xrpc(SESSION, token=session["accessJwt"])
    assert (answer.status, answer.data) == (400, {"error": "ExpiredToken", "message": "Token has expired"})
    renewed = (await client.xrpc(REFRESH, token=session["refreshJwt"])).data
    assert (await client.xrpc(SESSION, token=renewed["accessJwt"])).status == 200


async def test_refresh_token_when_used_again_soon_then_the_same_successor(client, did):
    token = (await client.login(did))["refreshJwt"]
    first, second = [(await client.xrpc(REFRESH, token=token)).data for _ in range(2)]
    assert (first["accessJwt"], first["refreshJwt"]) == (second["accessJwt"], second["refreshJwt"])
    assert first["refreshJwt"] != token


async def test_refresh_token_when_used_again_after_two_hours_then_revoked(client, did):
    token = (await client.login(did))["refreshJwt"]
    await client.xrpc(REFRESH, token=token)
    client.clock.advance(timedelta(hours=2, seconds=1))
    answer = await client.xrpc(REFRESH, token=token)
    assert (answer.status, answer.data) == (400, {"error": "ExpiredToken", "message": "Token has been revoked"})


async def test_auth_expired_when_the_session_is_renewed_then_the_new_token_works(client, did):
    session = await client.login(did)
    await client.fault("bluesky", did, "auth_expired")
    for _ in range(2):
        answer = await client.put(did, token=session["accessJwt"])
        assert (answer.status, answer.data["error"]) == (400, "ExpiredToken")
    renewed = (await client.xrpc(REFRESH, token=session["refreshJwt"])).data
    assert (await client.put(did, token=renewed["accessJwt"])).status == 200


@pytest.mark.parametrize("handle", ["ann.invalid", "ann.localhost", "ann", "-ann.test", "", "ann..test"])
async def test_handle_when_it_can_belong_to_nobody_then_handle_not_found(client, handle):
    answer = await client.xrpc(RESOLVE, params={"handle": handle})
    assert (answer.status, answer.data["error"]) == (400, "HandleNotFound")
