import asyncio

import pytest

from postpost.sandbox.bluesky import content_id, timestamp_id
from tests.sandbox.support import NSID, new_account, new_rkey, post_record

pytestmark = pytest.mark.anyio

PUT, CREATE = "com.atproto.repo.putRecord", "com.atproto.repo.createRecord"
GET, LIST, DELETE = "com.atproto.repo.getRecord", "com.atproto.repo.listRecords", "com.atproto.repo.deleteRecord"


async def write(client, nsid, did, *, token=None, **change):
    token = token or (await client.login(did))["accessJwt"]
    body = {"repo": did, "collection": NSID, "record": post_record(), **change}
    body = {name: value for name, value in body.items() if value is not ...}
    return await client.xrpc(nsid, token=token, json=body)


async def read(client, did, rkey):
    return await client.xrpc(GET, params={"repo": did, "collection": NSID, "rkey": rkey})


def test_content_id_when_keys_are_in_another_order_then_it_is_the_same():
    assert content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1})


def test_content_id_when_made_then_it_has_the_shape_of_a_cid():
    assert content_id({})[:7] == "bafyrei"
    assert len(content_id({})) == 59


def test_timestamp_id_when_numbers_grow_then_keys_sort_alike():
    keys = [timestamp_id(number) for number in (0, 1, 31, 32, 1 << 40, (1 << 63) - 1)]
    assert keys == sorted(keys)
    assert {len(key) for key in keys} == {13}


async def test_put_when_accepted_then_uri_and_cid_come_back(client, did):
    rkey = new_rkey()
    answer = await client.put(did, rkey=rkey, swapRecord=None)
    assert answer.status == 200
    assert answer.data["uri"] == f"at://{did}/{NSID}/{rkey}"
    assert answer.data.keys() == {"uri", "cid", "commit", "validationStatus"}


async def test_put_when_repeated_unchanged_then_the_same_record_without_a_commit(client, did):
    rkey = new_rkey()
    first = await client.put(did, rkey=rkey, swapRecord=None)
    second = await client.put(did, rkey=rkey, swapRecord=None)
    assert (second.status, second.data["cid"], "commit" in second.data) == (200, first.data["cid"], False)
    assert len(await client.posts("bluesky", did)) == 1


async def test_put_when_ten_come_at_once_then_one_record(client, did):
    token, rkey = (await client.login(did))["accessJwt"], new_rkey()
    answers = await asyncio.gather(*(client.put(did, token=token, rkey=rkey, swapRecord=None) for _ in range(10)))
    assert ({answer.status for answer in answers}, len(await client.posts("bluesky", did))) == ({200}, 1)


async def test_put_when_only_if_absent_and_other_content_is_there_then_invalid_swap(client, did):
    rkey = new_rkey()
    await client.put(did, "one", rkey=rkey, swapRecord=None)
    answer = await client.put(did, "two", rkey=rkey, swapRecord=None)
    assert (answer.status, answer.data["error"]) == (400, "InvalidSwap")
    assert await client.texts("bluesky", did) == ["one"]


async def test_put_when_no_swap_is_named_then_it_overwrites(client, did):
    rkey = new_rkey()
    await client.put(did, "one", rkey=rkey)
    assert (await client.put(did, "two", rkey=rkey)).status == 200
    assert await client.texts("bluesky", did) == ["two"]


@pytest.mark.parametrize(("right", "status"), [(True, 200), (False, 400)])
async def test_put_when_a_cid_is_named_then_it_must_be_the_present_one(client, did, right, status):
    rkey = new_rkey()
    cid = (await client.put(did, "one", rkey=rkey)).data["cid"]
    answer = await client.put(did, "two", rkey=rkey, swapRecord=cid if right else content_id("other"))
    assert answer.status == status


@pytest.mark.parametrize("rkey", ["self", "3jzfcijpj2z2", "zzzzzzzzzzzzz", "3JZFCIJPJ2Z2A", "", 5, None])
async def test_put_when_the_key_is_no_tid_then_invalid_request(client, did, rkey):
    answer = await write(client, PUT, did, rkey=rkey)
    assert (answer.status, answer.data["error"]) == (400, "InvalidRequest")


@pytest.mark.parametrize("nsid", [PUT, CREATE])
@pytest.mark.parametrize(
    "change",
    [{"repo": ...}, {"collection": ...}, {"collection": "app.bsky.feed.like"}, {"record": ...}, {"record": "text"}],
)
async def test_write_when_the_input_is_wrong_then_invalid_request(client, did, nsid, change):
    answer = await write(client, nsid, did, **({"rkey": new_rkey()} | change))
    assert (answer.status, answer.data["error"]) == (400, "InvalidRequest")


@pytest.mark.parametrize("nsid", [PUT, CREATE, DELETE])
async def test_write_when_the_repo_is_anothers_then_401(client, did, nsid):
    answer = await write(client, nsid, did, repo="did:plc:other", rkey=new_rkey())
    assert (answer.status, answer.data["error"]) == (401, "AuthenticationRequired")


async def test_write_when_the_content_type_is_wrong_then_invalid_request(client, did):
    token = (await client.login(did))["accessJwt"]
    answer = await client.xrpc(PUT, token=token, data={"repo": did})
    assert (answer.status, answer.data["error"]) == (400, "InvalidRequest")


@pytest.mark.parametrize("data", [b"no json", b"[]"])
async def test_write_when_the_body_is_no_object_then_invalid_request(client, did, data):
    token = (await client.login(did))["accessJwt"]
    answer = await client.call(
        "POST", f"/bluesky/xrpc/{PUT}", token=token, headers={"Content-Type": "application/json"}, data=data
    )
    assert answer.status == 400


async def test_create_when_no_key_is_given_then_the_server_chooses_one(client, did):
    uri = (await write(client, CREATE, did)).data["uri"]
    assert (await read(client, did, uri.rpartition("/")[2])).status == 200


async def test_create_when_the_key_is_in_use_then_500(client, did):
    rkey = new_rkey()
    statuses = [(await write(client, CREATE, did, rkey=rkey)).status for _ in range(2)]
    assert statuses == [200, 500]


async def test_record_when_read_then_it_is_as_written(client, did):
    rkey, record = new_rkey(), post_record("as written", extra={"kept": True})
    written = (await client.put(did, rkey=rkey, record=record)).data
    answer = await read(client, did, rkey)
    assert answer.data == {"uri": written["uri"], "cid": written["cid"], "value": record}


async def test_record_when_it_does_not_exist_then_record_not_found(client, did):
    answer = await read(client, did, new_rkey())
    assert (answer.status, answer.data["error"]) == (400, "RecordNotFound")


@pytest.mark.parametrize("params", [{}, {"repo": "did:plc:a"}, {"repo": "no.invalid", "collection": NSID}])
async def test_record_when_a_parameter_is_wrong_then_invalid_request(client, params):
    assert (await client.xrpc(GET, params=params)).status == 400


async def test_records_when_listed_then_the_latest_key_comes_first(client, did):
    uris = [(await client.put(did, text)).data["uri"] for text in ("one", "two", "three")]
    params = {"repo": did, "collection": NSID, "limit": "2"}
    first = (await client.xrpc(LIST, params=params)).data
    second = (await client.xrpc(LIST, params=params | {"cursor": first["cursor"]})).data
    assert [record["uri"] for record in first["records"] + second["records"]] == uris[::-1]


async def test_records_when_reversed_then_the_earliest_key_comes_first(client, did):
    uris = [(await client.put(did, text)).data["uri"] for text in ("one", "two")]
    answer = await client.xrpc(LIST, params={"repo": did, "collection": NSID, "reverse": "true"})
    assert [record["uri"] for record in answer.data["records"]] == uris


async def test_records_when_the_limit_is_wrong_then_invalid_request(client, did):
    assert (await client.xrpc(LIST, params={"repo": did, "collection": NSID, "limit": "101"})).status == 400


async def test_delete_when_repeated_then_it_succeeds_each_time(client, did):
    rkey = new_rkey()
    await client.put(did, rkey=rkey)
    answers = [await write(client, DELETE, did, rkey=rkey) for _ in range(2)]
    assert [(answer.status, "commit" in answer.data) for answer in answers] == [(200, True), (200, False)]
    assert (await read(client, did, rkey)).status == 400


async def test_reply_when_put_then_the_parent_is_kept(client, did):
    parent = (await client.put(did, "one")).data
    reference = {"uri": parent["uri"], "cid": parent["cid"]}
    record = post_record("two", reply={"root": reference, "parent": reference})
    assert (await client.put(did, record=record)).status == 200
    assert [post["replyTo"] for post in await client.posts("bluesky", did)] == [None, parent["uri"]]


async def test_reply_when_the_parent_does_not_exist_then_it_is_accepted_all_the_same(client, did):
    reference = {"uri": f"at://{new_account('bluesky')}/{NSID}/{new_rkey()}", "cid": content_id("none")}
    record = post_record(reply={"root": reference, "parent": reference})
    assert (await client.put(did, record=record)).status == 200


async def test_blob_when_it_was_not_uploaded_then_blob_not_found(client, did):
    blob = {"$type": "blob", "ref": {"$link": content_id("a blob")}, "mimeType": "image/png", "size": 10}
    embed = {"$type": "app.bsky.embed.images", "images": [{"image": blob, "alt": ""}]}
    answer = await client.put(did, record=post_record(embed=embed))
    assert (answer.status, answer.data["error"]) == (400, "BlobNotFound")


async def test_server_when_described_then_it_names_itself(client):
    assert (await client.xrpc("com.atproto.server.describeServer")).data["did"].startswith("did:web:")
