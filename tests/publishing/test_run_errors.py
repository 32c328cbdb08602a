"""The rows F1 to F15 of errors.md 5, one test each, as far as posts without media can meet them."""

import pytest

from postpost.connections import store as connections_store
from postpost.ids import new_id
from postpost.vault import Vault
from tests.eventually import eventually
from tests.factories import in_future, now
from tests.publishing import looking
from tests.publishing.odd_platform import open_odd_platform

pytestmark = pytest.mark.anyio

ODD = "mastodon-7"
F10_MESSAGE = "The connection broke after the post was sent; check the account before retrying"
F11_MESSAGE = (
    "Multi-part threads (nested replies) are temporarily blocked while we wait for Meta to approve additional "
    "permissions for our app."
)


SLOW_INTENTS = """
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END';
    CREATE TRIGGER dawdle BEFORE UPDATE ON platform_posts FOR EACH ROW
        WHEN (OLD.intent IS NULL AND NEW.intent IS NOT NULL) EXECUTE FUNCTION dawdle();
"""
"""Longer than the quarter of the platform time-out within which a public call has to start."""


async def error_of(system, platform_id, *, content="Hello", within=15.0):
    """Publish one post and return the error of its entry, without the time."""
    group = await system.create(platform_id, content=content, at=now())
    [entry] = await system.ended(group, within=within)
    assert (entry["status"], "postedId" in entry) == ("failed", False)
    error = dict(entry["error"])
    assert looking.moment(error.pop("failedAt")) <= looking.moment(now())
    return error


async def write_connection(system, platform_id, **changes):
    """Put a connection into the database that the program itself would not make."""
    row = {
        "id": new_id(),
        "account_id": system.account_id,
        "platform": platform_id.partition("-")[0],
        "platform_id": platform_id,
        "username": "nobody",
        "display_name": None,
        "profile_image_url": None,
        "profile_url": None,
        "base_url": None,
        "sandbox": True,
        "credentials": system.services.outside.vault.encrypt({}),
        "facts": {},
        "token_expires_at": None,
        **changes,
    }
    async with system.database.transaction() as connection:
        await connections_store.upsert_connection(connection, connections_store.NewConnection(**row))


async def test_f1_auth_expired_when_the_platform_refuses_the_renewed_token_too_then_its_answer_is_shown(system):
    async with open_odd_platform(system, status=401, body={"error": "The access token was revoked"}) as odd:
        assert await error_of(system, ODD) == {
            "code": "PLATFORM_AUTH_EXPIRED",
            "message": "The access token was revoked",
            "platformStatusCode": 401,
            "platformError": '{"error": "The access token was revoked"}',
            "retryable": False,
        }
        assert (odd.attempts, odd.calls.count(("POST", "/oauth/token"))) == (2, 1)


async def test_f2_rate_limited_when_the_wait_is_too_long_then_429_and_retryable(open_watched):
    async with open_watched(worker=True, sandbox=True, max_rate_limit_wait_seconds=5) as system:
        await system.connect("mastodon-404")
        await system.fault("mastodon-404", "rate_limited", retryAfter=500)
        error = await error_of(system, "mastodon-404")
        assert (error["code"], error["platformStatusCode"], error["retryable"]) == ("RATE_LIMITED", 429, True)


async def test_f3_invalid_content_when_the_platform_refuses_what_it_says_then_its_answer_is_shown(system):
    async with open_odd_platform(system, status=422, body={"error": "Validation failed: no"}):
        assert await error_of(system, ODD) == {
            "code": "INVALID_CONTENT",
            "message": "Validation failed: no",
            "platformStatusCode": 422,
            "platformError": '{"error": "Validation failed: no"}',
            "retryable": False,
        }


async def test_f4_content_too_large_when_the_platform_says_so_then_it_fails_at_once(system):
    async with open_odd_platform(system, status=413, body={"error": "Payload too large"}) as odd:
        error = await error_of(system, ODD)
        assert (error["code"], error["platformStatusCode"], error["retryable"]) == ("CONTENT_TOO_LARGE", 413, False)
        assert odd.attempts == 1


async def test_f5_platform_server_error_when_every_attempt_meets_it_then_5xx_and_retryable(system):
    async with open_odd_platform(system, status=502, body={"error": "Over capacity"}) as odd:
        assert await error_of(system, ODD) == {
            "code": "PLATFORM_SERVER_ERROR",
            "message": "Over capacity",
            "platformStatusCode": 502,
            "platformError": '{"error": "Over capacity"}',
            "retryable": True,
        }
        assert odd.attempts == 2


async def test_f6_network_error_when_nobody_answers_at_the_address_then_null_and_retryable(system):
    async with open_odd_platform(system):
        pass
    error = await error_of(system, ODD)
    assert error.pop("message").startswith("The platform could not be reached")
    assert error == {
        "code": "NETWORK_ERROR",
        "platformStatusCode": None,
        "platformError": None,
        "retryable": True,
    }


async def test_f7_timeout_error_when_no_attempt_is_answered_and_the_platform_has_nothing_then_null_and_retryable(
    system,
):
    await system.connect("bluesky-did:plc:abc")
    await system.fault("bluesky-did:plc:abc", "timeout", times=2)
    assert await error_of(system, "bluesky-did:plc:abc") == {
        "code": "TIMEOUT_ERROR",
        "message": "The platform did not answer in time",
        "platformStatusCode": None,
        "platformError": None,
        "retryable": True,
    }


async def test_f8_unknown_error_when_no_other_code_fits_then_as_answered_and_not_retryable(system):
    async with open_odd_platform(system, status=418, body={"error": "I am a teapot"}):
        assert await error_of(system, ODD) == {
            "code": "UNKNOWN_ERROR",
            "message": "I am a teapot",
            "platformStatusCode": 418,
            "platformError": '{"error": "I am a teapot"}',
            "retryable": False,
        }


async def test_f8_unknown_error_when_the_fault_is_ours_and_nothing_was_sent_then_retryable(system):
    other_key = Vault(["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="])
    await write_connection(system, "mastodon-404", credentials=other_key.encrypt({"access_token": "sandbox-404"}))
    assert await error_of(system, "mastodon-404") == {
        "code": "UNKNOWN_ERROR",
        "message": "The stored credentials cannot be opened with the keys of this server",
        "platformStatusCode": None,
        "platformError": None,
        "retryable": True,
    }
    assert await system.posted("mastodon-404") == []


async def test_f8_unknown_error_when_we_stumble_over_an_answer_before_the_post_then_tried_again_and_retryable(system):
    async with open_odd_platform(system, listing=[{}]) as odd:
        assert await error_of(system, ODD) == {
            "code": "UNKNOWN_ERROR",
            "message": "Publishing failed on our side",
            "platformStatusCode": None,
            "platformError": None,
            "retryable": True,
        }
        assert (odd.attempts, len(odd.calls)) == (0, 2)


async def test_f8_unknown_error_when_the_intent_is_stored_too_late_then_nothing_is_sent_and_retryable(open_watched):
    async with open_watched(worker=True, sandbox=True, publish_attempts=1) as system:
        await system.connect("twitter-101")
        async with system.database.connection() as connection:
            await connection.execute(SLOW_INTENTS)
        error = await error_of(system, "twitter-101")
        assert (error["code"], error["retryable"]) == ("UNKNOWN_ERROR", True)
        assert await system.posted("twitter-101") == []


async def test_f8_unknown_error_when_one_connection_cannot_be_opened_then_the_posts_of_others_go_out(system):
    other_key = Vault(["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="])
    await write_connection(system, "mastodon-404", credentials=other_key.encrypt({"access_token": "sandbox-404"}))
    targets = [f"mastodon-{number}" for number in range(1, 6)]
    await system.connect(*targets)
    group = await system.create("mastodon-404", *targets, at=now())
    assert [entry["status"] for entry in await system.ended(group)] == ["failed"] + ["published"] * 5


async def test_f9_platform_validation_error_when_the_content_breaks_the_rules_then_nothing_is_called(system):
    await system.connect("bluesky-did:plc:abc")
    error = await error_of(system, "bluesky-did:plc:abc", content="x" * 301)
    validated = await system.call(
        "POST", "/validate-post", json={"content": "x" * 301, "platforms": ["bluesky-did:plc:abc"]}
    )
    assert error == {
        "code": "PLATFORM_VALIDATION_ERROR",
        "message": validated.body["validation"]["errors"][0]["message"],
        "platformStatusCode": None,
        "platformError": None,
        "retryable": False,
    }
    assert await system.posted("bluesky-did:plc:abc") == []


async def test_f10_outcome_unknown_when_the_platform_cannot_be_asked_then_never_sent_again(system):
    async with open_odd_platform(system, listing_status=403, break_connection=True) as odd:
        assert await error_of(system, ODD) == {
            "code": "PUBLISH_OUTCOME_UNKNOWN",
            "message": F10_MESSAGE,
            "platformStatusCode": None,
            "platformError": None,
            "retryable": False,
        }
        assert odd.attempts == 1


async def test_f10_outcome_unknown_when_retried_then_only_on_request_and_sent_once_more(system):
    async with open_odd_platform(system, listing_status=403, break_connection=True) as odd:
        group = await system.create(ODD, at=now())
        await system.ended(group)
        odd.break_connection = False
        assert (await system.call("POST", f"/retry-post/{group}")).status == 409
        again = await system.call("POST", f"/retry-post/{group}", json={"includeUnknownOutcome": True})
        assert again.body["retried"] == [ODD]
        assert [entry["status"] for entry in await system.ended(group)] == ["published"]
        assert odd.attempts == 2


async def test_f11_threads_block_when_validated_then_the_sentence_though_no_connection_can_exist(system):
    body = {"content": "One\n---\nTwo", "platforms": ["threads-1"]}
    validated = (await system.call("POST", "/validate-post", json=body)).body["validation"]
    assert [item["message"] for item in validated["errors"]] == [F11_MESSAGE]


async def test_f14_connection_not_found_when_disconnected_after_creation_then_named(system):
    await system.connect("mastodon-404")
    group = await system.create("mastodon-404", at=in_future(seconds=0.5))
    async with system.database.transaction() as connection:
        await connections_store.delete_connection(connection, system.account_id, "mastodon-404")
    [entry] = await system.ended(group)
    assert entry["error"] | {"failedAt": ""} == {
        "code": "PLATFORM_VALIDATION_ERROR",
        "message": "Platform connection not found: mastodon-404",
        "platformStatusCode": None,
        "platformError": None,
        "failedAt": "",
        "retryable": False,
    }


@pytest.mark.parametrize("platform", ["pinterest", "threads"])
async def test_f15_not_supported_when_a_known_name_has_no_connector_then_named(system, platform):
    await write_connection(system, f"{platform}-1")
    assert await error_of(system, f"{platform}-1") == {
        "code": "PLATFORM_VALIDATION_ERROR",
        "message": f'Platform "{platform}" is not supported',
        "platformStatusCode": None,
        "platformError": None,
        "retryable": False,
    }


async def test_platform_error_when_very_long_then_cut_to_a_thousand_characters(system):
    async with open_odd_platform(system, status=422, body={"error": "x" * 5000}):
        assert len((await error_of(system, ODD))["platformError"]) == 1000


async def test_platform_error_when_it_repeats_the_token_then_the_token_is_not_shown(system):
    async with open_odd_platform(system, status=422, body={"error": "bad a-token given"}):
        group = await system.create(ODD, at=now())

        async def failed():
            return [entry["status"] for entry in await system.entries(group)] == ["failed"]

        await eventually(failed)
        shown = await system.call("GET", f"/get-post/{group}")
        assert "a-token" not in shown.text
        assert "a-token" not in (await system.call("GET", f"/post-logs/{group}")).text
