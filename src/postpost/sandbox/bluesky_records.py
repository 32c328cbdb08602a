"""What a Bluesky post record may look like: the lexicon app.bsky.feed.post, checked as a personal data server does."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime

import regex

from postpost.sandbox.wire import Json

COLLECTION = "app.bsky.feed.post"

MAX_GRAPHEMES = 300
MAX_BYTES = 3000
MAX_TAG_GRAPHEMES = 64
MAX_TAG_BYTES = 640
MAX_TAGS = 8
MAX_LANGUAGES = 3
MAX_IMAGES = 4

_GRAPHEME = regex.compile(r"\X")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*|i(-[A-Za-z0-9]{1,8})+|x(-[A-Za-z0-9]{1,8})+")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,20})?(Z|[+-]\d\d:\d\d)")
_URI = re.compile(r"[a-z][a-z0-9.-]{0,80}:\S+")
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]+")
_AT_URI = re.compile(r"at://[^\s/]+(/[A-Za-z0-9.-]+(/[A-Za-z0-9._~:-]+)?)?")
_CID = re.compile(r"baf[a-z2-7]{50,100}")


class RecordError(Exception):
    """A record that the lexicon does not allow; the message is the server's."""


class BlobNotFoundError(Exception):
    """A record names a blob that the account has not uploaded; the message is its CID."""


def check_record(record: Json, uploads: set[str]) -> tuple[str, ...]:
    """Check a post record and return the CIDs of the blobs it shows. Keys the lexicon does not know are allowed.

    Raises RecordError, and BlobNotFoundError for a blob that is not among the account's uploads.
    """
    post = _object(record, "$")
    if post.get("$type") != COLLECTION:
        raise RecordError(f"Invalid $type: expected {COLLECTION}, got {post.get('$type')}")
    _text(_needed(post, "text", "$"), "$.text", MAX_GRAPHEMES, MAX_BYTES)
    _moment(_needed(post, "createdAt", "$"), "$.createdAt")
    if "langs" in post:
        for at, language in _list(post["langs"], "$.langs", MAX_LANGUAGES):
            _matching(language, at, _LANGUAGE, "language")
    if "facets" in post:
        for at, facet in _list(post["facets"], "$.facets"):
            _facet(facet, at)
    if "tags" in post:
        for at, tag in _list(post["tags"], "$.tags", MAX_TAGS):
            _text(tag, at, MAX_TAG_GRAPHEMES, MAX_TAG_BYTES)
    if "reply" in post:
        _reply(post["reply"])
    if "labels" in post:
        _labels(post["labels"])
    blobs = _embed(post["embed"]) if "embed" in post else []
    for blob in blobs:
        if blob not in uploads:
            raise BlobNotFoundError(blob)
    return tuple(blobs)


def graphemes(text: str) -> int:
    """Return the number of extended grapheme clusters (UAX 29)."""
    return len(text) if text.isascii() and "\r" not in text else len(_GRAPHEME.findall(text))


def _object(value: Json, at: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise RecordError(f"Expected object value type at {at}")
    return value


def _needed(value: Mapping[str, Json], name: str, at: str) -> Json:
    if name not in value:
        raise RecordError(f'Missing required key "{name}" at {at}')
    return value[name]


def _list(value: Json, at: str, limit: int | None = None) -> list[tuple[str, Json]]:
    if not isinstance(value, list):
        raise RecordError(f"Expected array value type at {at}")
    if limit is not None and len(value) > limit:
        raise RecordError(f"array too big (maximum {limit}, got {len(value)}) at {at}")
    return [(f"{at}[{position}]", item) for position, item in enumerate(value)]


def _string(value: Json, at: str) -> str:
    if not isinstance(value, str):
        raise RecordError(f"Expected string value type at {at}")
    return value


def _text(value: Json, at: str, max_graphemes: int, max_bytes: int) -> None:
    text = _string(value, at)
    if (size := len(text.encode())) > max_bytes:
        raise RecordError(f"string too big (maximum {max_bytes}, got {size}) at {at}")
    if (count := graphemes(text)) > max_graphemes:
        raise RecordError(f"grapheme too big (maximum {max_graphemes}, got {count}) at {at}")


def _matching(value: Json, at: str, pattern: re.Pattern[str], what: str) -> str:
    text = _string(value, at)
    if not pattern.fullmatch(text):
        raise RecordError(f"Invalid {what} at {at}")
    return text


def _moment(value: Json, at: str) -> None:
    text = _matching(value, at, _DATETIME, "datetime")
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise RecordError(f"Invalid datetime at {at}") from error


def _whole(value: Json, at: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecordError(f"Expected integer value type at {at}")
    if value < 0:
        raise RecordError(f"integer too small (minimum 0, got {value}) at {at}")


def _facet(value: Json, at: str) -> None:
    """Check a facet's types; offsets past the end of the text are stored as they are."""
    facet = _object(value, at)
    index = _object(_needed(facet, "index", at), f"{at}.index")
    for name in ("byteStart", "byteEnd"):
        _whole(_needed(index, name, f"{at}.index"), f"{at}.index.{name}")
    for where, item in _list(_needed(facet, "features", at), f"{at}.features"):
        feature = _object(item, where)
        kind = _string(_needed(feature, "$type", where), f"{where}.$type")
        if kind == "app.bsky.richtext.facet#link":
            _matching(_needed(feature, "uri", where), f"{where}.uri", _URI, "uri")
        elif kind == "app.bsky.richtext.facet#tag":
            _text(_needed(feature, "tag", where), f"{where}.tag", MAX_TAG_GRAPHEMES, MAX_TAG_BYTES)
        elif kind == "app.bsky.richtext.facet#mention":
            _matching(_needed(feature, "did", where), f"{where}.did", _DID, "did")


def _reference(value: Json, at: str) -> None:
    """Check a strong reference. Whether it leads anywhere is not the data server's business."""
    reference = _object(value, at)
    _matching(_needed(reference, "uri", at), f"{at}.uri", _AT_URI, "at-uri")
    _matching(_needed(reference, "cid", at), f"{at}.cid", _CID, "cid")


def _reply(value: Json) -> None:
    reply = _object(value, "$.reply")
    for name in ("root", "parent"):
        _reference(_needed(reply, name, "$.reply"), f"$.reply.{name}")


def _labels(value: Json) -> None:
    labels = _object(value, "$.labels")
    if _needed(labels, "$type", "$.labels") != "com.atproto.label.defs#selfLabels":
        raise RecordError("Invalid $type at $.labels")
    for at, label in _list(_needed(labels, "values", "$.labels"), "$.labels.values", 10):
        _string(_needed(_object(label, at), "val", at), f"{at}.val")


def _embed(value: Json) -> list[str]:
    embed = _object(value, "$.embed")
    kind = _string(_needed(embed, "$type", "$.embed"), "$.embed.$type")
    check = _EMBEDS.get(kind)
    return check(embed) if check is not None else []


def _images(embed: Mapping[str, Json]) -> list[str]:
    blobs = []
    for at, item in _list(_needed(embed, "images", "$.embed"), "$.embed.images", MAX_IMAGES):
        image = _object(item, at)
        blobs.append(_blob(_needed(image, "image", at), f"{at}.image"))
        _string(_needed(image, "alt", at), f"{at}.alt")
    return blobs


def _video(embed: Mapping[str, Json]) -> list[str]:
    return [_blob(_needed(embed, "video", "$.embed"), "$.embed.video")]


def _external(embed: Mapping[str, Json]) -> list[str]:
    at = "$.embed.external"
    card = _object(_needed(embed, "external", "$.embed"), at)
    _matching(_needed(card, "uri", at), f"{at}.uri", _URI, "uri")
    _string(_needed(card, "title", at), f"{at}.title")
    _string(_needed(card, "description", at), f"{at}.description")
    return [_blob(card["thumb"], f"{at}.thumb")] if "thumb" in card else []


def _quote(embed: Mapping[str, Json]) -> list[str]:
    _reference(_needed(embed, "record", "$.embed"), "$.embed.record")
    return []


_EMBEDS: Mapping[str, Callable[[Mapping[str, Json]], list[str]]] = {
    "app.bsky.embed.images": _images,
    "app.bsky.embed.video": _video,
    "app.bsky.embed.external": _external,
    "app.bsky.embed.record": _quote,
}


def _blob(value: Json, at: str) -> str:
    blob = _object(value, at)
    if _needed(blob, "$type", at) != "blob":
        raise RecordError(f"Expected blob value type at {at}")
    link = _string(_needed(_object(_needed(blob, "ref", at), f"{at}.ref"), "$link", f"{at}.ref"), f"{at}.ref.$link")
    _string(_needed(blob, "mimeType", at), f"{at}.mimeType")
    _whole(_needed(blob, "size", at), f"{at}.size")
    return link
