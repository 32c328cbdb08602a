import pytest

from postpost.sandbox.bluesky_records import BlobNotFoundError, RecordError, check_record, graphemes
from tests.sandbox.support import post_record

CID = "bafyrei" + "a" * 52
REFERENCE = {"uri": "at://did:plc:abc/app.bsky.feed.post/3jzfcijpj2z2a", "cid": CID}
BLOB = {"$type": "blob", "ref": {"$link": CID}, "mimeType": "image/png", "size": 10}
FACET = "app.bsky.richtext.facet"


def facet(feature, start=0, end=5):
    return {"index": {"byteStart": start, "byteEnd": end}, "features": [feature]}


def link(uri="https://a.test"):
    return {"$type": f"{FACET}#link", "uri": uri}


def external(**change):
    card = {"uri": "https://a.test", "title": "", "description": ""} | change
    return {"$type": "app.bsky.embed.external", "external": card}


def images(count=1, **change):
    return {"$type": "app.bsky.embed.images", "images": [{"image": BLOB, "alt": ""} | change for _ in range(count)]}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"text": ""},
        {"text": "x" * 300},
        {"text": "é" * 300},
        {"text": "🏽" * 300},
        {"createdAt": "2026-11-24T10:00:00+01:00"},
        {"langs": ["en", "pt-BR", "zh-Hans-CN"]},
        {"tags": ["a"] * 8},
        {"facets": [facet(link())]},
        {"facets": [facet(link(), 500, 1000)]},
        {"facets": [facet({"$type": f"{FACET}#tag", "tag": "x" * 64})]},
        {"facets": [facet({"$type": f"{FACET}#mention", "did": "did:plc:abc"})]},
        {"reply": {"root": REFERENCE, "parent": REFERENCE}},
        {"labels": {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "sexual"}]}},
        {"embed": external()},
        {"embed": images(4)},
        {"embed": {"$type": "app.bsky.embed.video", "video": BLOB}},
        {"embed": {"$type": "app.bsky.embed.record", "record": REFERENCE}},
        {"embed": {"$type": "org.example.other", "anything": 1}},
        {"unknown": {"is": "allowed"}},
    ],
)
def test_record_when_the_lexicon_allows_it_then_it_passes(more):
    check_record(post_record() | more, {CID})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"$type": "app.bsky.feed.like"}, "Invalid $type"),
        ({"text": 5}, "Expected string value type at $.text"),
        ({"text": "x" * 301}, "grapheme too big (maximum 300, got 301) at $.text"),
        ({"text": "👨‍👩‍👧‍👦" * 300}, "string too big (maximum 3000, got 7500) at $.text"),
        ({"createdAt": "yesterday"}, "Invalid datetime"),
        ({"createdAt": "2026-11-24T10:00:00"}, "Invalid datetime"),
        ({"createdAt": "2026-13-24T10:00:00Z"}, "Invalid datetime"),
        ({"createdAt": 5}, "Expected string"),
        ({"langs": ["en", "de", "fr", "es"]}, "array too big"),
        ({"langs": ["not a language"]}, "Invalid language"),
        ({"langs": "en"}, "Expected array"),
        ({"tags": ["a"] * 9}, "array too big"),
        ({"tags": ["x" * 65]}, "grapheme too big"),
        ({"facets": {}}, "Expected array"),
        ({"facets": [{"features": []}]}, 'Missing required key "index"'),
        ({"facets": [facet(link(), "0")]}, "Expected integer"),
        ({"facets": [facet(link(), True)]}, "Expected integer"),
        ({"facets": [facet(link(), -1)]}, "integer too small"),
        ({"facets": [facet(link("a.test"))]}, "Invalid uri"),
        ({"facets": [facet({"uri": "https://a.test"})]}, 'Missing required key "$type"'),
        ({"facets": [facet({"$type": f"{FACET}#tag", "tag": "x" * 65})]}, "grapheme too big"),
        ({"facets": [facet({"$type": f"{FACET}#tag", "tag": 5})]}, "Expected string"),
        ({"facets": [facet({"$type": f"{FACET}#mention", "did": "ann.test"})]}, "Invalid did"),
        ({"reply": {"root": REFERENCE}}, 'Missing required key "parent"'),
        ({"reply": {"root": REFERENCE, "parent": {"uri": "https://a.test", "cid": CID}}}, "Invalid at-uri"),
        ({"reply": {"root": REFERENCE, "parent": REFERENCE | {"cid": "abc"}}}, "Invalid cid"),
        ({"labels": {"values": []}}, 'Missing required key "$type"'),
        ({"embed": external(uri="a.test")}, "Invalid uri"),
        ({"embed": external(title=None)}, "Expected string"),
        ({"embed": images(5)}, "array too big"),
        ({"embed": images(alt=None)}, "Expected string"),
        ({"embed": images(image={"$type": "image"})}, "Expected blob"),
        ({"embed": {}}, 'Missing required key "$type"'),
    ],
)
def test_record_when_the_lexicon_forbids_it_then_the_message_says_where(more, message):
    with pytest.raises(RecordError) as error:
        check_record(post_record() | more, {CID})
    assert message in str(error.value)


@pytest.mark.parametrize("missing", ["text", "createdAt"])
def test_record_when_a_key_is_missing_then_the_message_names_it(missing):
    record = {name: value for name, value in post_record().items() if name != missing}
    with pytest.raises(RecordError, match=missing):
        check_record(record, set())


def test_record_when_its_blobs_are_known_then_they_come_back():
    assert check_record(post_record(embed=images(2)), {CID}) == (CID, CID)


def test_record_when_a_blob_is_unknown_then_it_is_named():
    with pytest.raises(BlobNotFoundError, match=CID):
        check_record(post_record(embed=external(thumb=BLOB)), set())


@pytest.mark.parametrize(("text", "count"), [("abc", 3), ("a\r\nb", 3), ("👨‍👩‍👧‍👦🇩🇪", 2), ("e\u0301", 1)])
def test_graphemes_when_counted_then_clusters_count_once(text, count):
    assert graphemes(text) == count
