import pytest

from postpost.sandbox.control import Control
from postpost.sandbox.state import State, utc_now
from postpost.sandbox.twitter import TWITTER

pytestmark = pytest.mark.anyio


def ask(path, *, client, allow_remote=False, method="GET", headers=()):
    control = Control(State({"twitter": TWITTER.username}, utc_now), {"twitter": TWITTER}, allow_remote=allow_remote)
    scope = {"method": method, "client": client, "headers": list(headers)}
    return control.answer(scope, path, b'{"kind": "slow"}').status


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.0.2.1", 403),
        ("::ffff:192.0.2.1", 403),
        ("localhost.example.com", 403),
    ],
)
def test_control_when_the_client_is_not_on_this_machine_then_403(address, status):
    assert ask(["twitter", "1", "posts"], client=(address, 1234)) == status


def test_control_when_remote_clients_are_allowed_then_they_are_answered():
    assert ask(["twitter"], client=("192.0.2.1", 1234), allow_remote=True) == 200


def test_control_when_the_client_has_no_address_then_it_is_local():
    assert ask([""], client=None) == 200


@pytest.mark.parametrize(
    ("origin", "status"), [(b"http://evil.test", 403), (b"http://localhost:1", 201), (b"null", 403)]
)
def test_control_when_a_page_of_another_site_posts_then_403(origin, status):
    headers = [(b"host", b"localhost:1"), (b"origin", origin)]
    path = ["twitter", "1", "faults"]
    assert ask(path, client=("127.0.0.1", 1), method="POST", headers=headers) == status


async def test_fault_when_added_then_it_is_listed_with_its_defaults(client, account):
    answer = await client.fault("twitter", account, "slow")
    shown = {"kind": "slow", "times": 1, "retryAfter": 1.0, "delay": 2.0}
    assert (answer.status, answer.data) == (201, shown)
    assert await client.faults("twitter", account) == [shown]


async def test_fault_when_it_strikes_then_its_times_count_down(client, account):
    await client.fault("mastodon", account, "server_error", times=2)
    await client.toot(account)
    assert [fault["times"] for fault in await client.faults("mastodon", account)] == [1]


async def test_faults_when_cleared_then_none_strikes_and_tokens_live_again(client, account):
    await client.fault("twitter", account, "auth_expired")
    await client.tweet(account)
    await client.fault("twitter", account, "server_error", times=5)
    assert (await client.call("DELETE", f"/_sandbox/twitter/{account}/faults")).status == 204
    assert (await client.faults("twitter", account), (await client.tweet(account)).status) == ([], 201)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b'{"kind": "earthquake"}',
        b'{"kind": "slow", "colour": 1}',
        b'{"kind": "slow", "times": 0}',
        b'{"kind": "slow", "times": 1.5}',
        b'{"kind": "slow", "times": "2"}',
        b'{"kind": "slow", "delay": -1}',
        b'{"kind": "slow", "delay": 100000}',
        b'{"kind": "rate_limited", "retryAfter": null}',
        b'{"kind": "\xff"}',
    ],
)
async def test_fault_when_the_input_is_wrong_then_400(client, account, body):
    answer = await client.call("POST", f"/_sandbox/twitter/{account}/faults", data=body)
    assert (answer.status, list(answer.data)) == (400, ["error"])


async def test_fault_when_too_many_wait_then_400(client, account):
    statuses = [(await client.fault("twitter", account, "slow")).status for _ in range(101)]
    assert (statuses[99], statuses[100]) == (201, 400)


async def test_fault_when_the_body_is_too_large_then_413(client, account):
    assert (await client.call("POST", f"/_sandbox/twitter/{account}/faults", data=b"x" * 20_000)).status == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/_sandbox/friendster", 404),
        ("GET", "/_sandbox/twitter/1/dreams", 404),
        ("GET", "/_sandbox/twitter/1/faults/2", 404),
        ("PUT", "/_sandbox/twitter/1/faults", 405),
        ("POST", "/_sandbox/twitter/1/posts", 405),
        ("POST", "/_sandbox/twitter/1", 405),
        ("POST", "/_sandbox/twitter", 405),
        ("POST", "/_sandbox/", 405),
        ("GET", "/_sandbox/twitter/%00/posts", 400),
        ("GET", "/_sandbox/twitter/" + "x" * 201 + "/posts", 400),
    ],
)
async def test_control_when_the_call_is_wrong_then_a_json_error(client, method, path, status):
    answer = await client.call(method, path)
    assert (answer.status, list(answer.data)) == (status, ["error"])


async def test_posts_when_listed_then_the_oldest_comes_first(client, account):
    first = (await client.tweet(account, "one")).data["data"]["id"]
    second = (await client.tweet(account, "two", reply={"in_reply_to_tweet_id": first})).data["data"]["id"]
    posts = await client.posts("twitter", account)
    assert [(post["id"], post["text"], post["replyTo"], post["media"]) for post in posts] == [
        (first, "one", None, []),
        (second, "two", first, []),
    ]
    assert posts[0]["createdAt"].endswith("Z")


async def test_posts_when_the_account_was_never_used_then_none(client, account):
    assert await client.posts("twitter", account) == []


async def test_account_when_its_name_is_encoded_then_it_is_the_decoded_one(client, did):
    await client.put(did, "encoded")
    path = f"/_sandbox/bluesky/{did.replace(':', '%3A')}/posts"
    assert [post["text"] for post in (await client.call("GET", path)).data] == ["encoded"]


async def test_account_when_its_name_has_a_slash_then_it_is_kept(client):
    await client.tweet("slash", token="sandbox-with%2Fslash")
    assert len((await client.call("GET", "/_sandbox/twitter/with%2Fslash/posts")).data) == 1
