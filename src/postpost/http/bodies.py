"""The reading of requests: bodies (stage 6 of errors.md) and query strings."""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from postpost.errors import T3, T4, T4_FORM, T5, ApiError
from postpost.values import decode_json

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_FORM_FIELDS: Final = 1000
"""More fields than this are no form that a person or a client library would send."""

MAX_PAGE: Final = 2_147_483_647
DEFAULT_PAGE_SIZE: Final = 20
MAX_PAGE_SIZE: Final = 100

_JSON_TYPE = re.compile(r"application/(?:json|[^\s/;]+\+json)")
_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_UTF8_NAMES: Final = frozenset({"utf-8", "utf8"})
_LEADING_INTEGER = re.compile(r"\s*([+-]?)0*(\d{1,20})(\d*)", re.ASCII)


async def read_object(request: Request[Any, Any, Any], *, forms: bool) -> dict[str, Any]:
    """Read the body as an object; an empty body is `{}`. With `forms`, HTML forms are read too (rest-api.md 1.3).

    Raises ApiError T5, T3 or T4, in this order. A `charset` other than UTF-8 and a `Content-Encoding` are T5 as
    well: such a body is of a kind that is not read here. A declared size above the bound is refused without reading,
    an undeclared one as soon as it is passed.
    """
    content_type, encoding, declared_bytes = _body_headers(request)
    received = bytearray()
    more = True
    if not declared_bytes:
        more = await _receive(request, received)
        while more and not received:
            more = await _receive(request, received)
        if not received:
            return {}
    kind, options = _media_type(content_type, encoding, forms=forms)
    if declared_bytes > MAX_BODY_BYTES:
        raise ApiError(T3)
    while more and len(received) <= MAX_BODY_BYTES:
        more = await _receive(request, received)
    if len(received) > MAX_BODY_BYTES:
        raise ApiError(T3)
    if kind == _URLENCODED:
        return _read_urlencoded(bytes(received))
    if kind == _MULTIPART:
        return _read_multipart(bytes(received), options.get("boundary", ""))
    return decode_object(bytes(received))


def decode_object(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object; of repeated keys the last counts, and no bytes at all are `{}`.

    Raises ApiError T4 for what errors.md lists there, and for numbers that neither 64-bit floats nor 4,300 digits
    can hold (RFC 8259 section 9 leaves such limits to the reader).
    """
    if not raw:
        return {}
    try:
        value = decode_json(raw)
    except ValueError as error:
        raise ApiError(T4) from error
    if not isinstance(value, dict):
        raise ApiError(T4)
    return value


def first_values(query_string: bytes) -> dict[str, str]:
    """Return the query's parameters: of a repeated one the first, and empty ones not at all (rest-api.md 3.5).

    Bytes that are no UTF-8 become U+FFFD. A value may hold U+0000, which PostgreSQL does not store and so cannot find.
    """
    values: dict[str, str] = {}
    if query_string:
        for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, errors="replace"):
            values.setdefault(name, value)
    return {name: value for name, value in values.items() if value}


def leading_integer(text: str) -> int | None:
    """Return the integer that `text` begins with (`2.7` gives 2, `5abc` gives 5), or None.

    Beyond 20 digits the answer is only right in its sign and in being large.
    """
    match = _LEADING_INTEGER.match(text)
    if match is None:
        return None
    sign, digits, rest = match.groups()
    number = int(digits) if not rest else 10**20
    return -number if sign == "-" else number


def page_number(text: str | None) -> int:
    """Return the `page` to use: the leading integer, from 1 to 2147483647, else 1 (rest-api.md 3.5)."""
    number = leading_integer(text) if text else None
    return 1 if number is None else min(max(number, 1), MAX_PAGE)


def page_size(text: str | None) -> int:
    """Return the `limit` to use: the leading integer, 1 to 100; 0, none or no number is 20 (rest-api.md 3.5)."""
    number = leading_integer(text) if text else None
    return min(max(number, 1), MAX_PAGE_SIZE) if number else DEFAULT_PAGE_SIZE


def _body_headers(request: Request[Any, Any, Any]) -> tuple[str, str, int]:
    """Return Content-Type, Content-Encoding and Content-Length (0 when absent) from the raw headers."""
    found: dict[bytes, bytes] = {}
    for name, value in request.scope["headers"]:
        if name.startswith(b"content-"):
            found.setdefault(name, value)
    length = found.get(b"content-length", b"").strip()
    return (
        found.get(b"content-type", b"").decode("latin-1").strip(),
        found.get(b"content-encoding", b"").decode("latin-1").strip().lower(),
        # The server has checked the number; seven digits say "too large" as well as seventy.
        int(length[:8]) if length.isdigit() else 0,
    )


async def _receive(request: Request[Any, Any, Any], into: bytearray) -> bool:
    """Add the next part of the body to `into` and say whether more is to come."""
    message = await request.receive()
    if message["type"] != "http.request":
        # The client has gone before its body was complete. Nobody reads this answer, but half a body is no body.
        raise ApiError(T4)
    into += message.get("body", b"")
    return message.get("more_body", False)


def _media_type(content_type: str, encoding: str, *, forms: bool) -> tuple[str, dict[str, str]]:
    if encoding not in ("", "identity"):
        raise ApiError(T5)
    if content_type in ("", "application/json"):
        return "application/json", {}
    kind, options = parse_options_header(content_type)
    if options.get("charset", "utf-8").lower() not in _UTF8_NAMES:
        raise ApiError(T5)
    if _JSON_TYPE.fullmatch(kind) or (forms and kind in (_URLENCODED, _MULTIPART)):
        return kind, options
    raise ApiError(T5)


def _read_urlencoded(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise ApiError(T4_FORM) from error
    return _fold(pairs)


def _read_multipart(raw: bytes, boundary: str) -> dict[str, Any]:
    if not boundary:
        raise ApiError(T4_FORM)
    try:
        return _fold(_multipart_fields(raw, boundary))
    except (MultipartError, ValueError) as error:
        raise ApiError(T4_FORM) from error


def _multipart_fields(raw: bytes, boundary: str) -> list[tuple[str, str]]:
    """Return the fields of a multipart body in their order, without its files. Raises ValueError."""
    fields: list[tuple[str, str]] = []
    segment: MultipartSegment | None = None
    content = bytearray()
    with PushMultipartParser(boundary.encode("latin-1"), max_segment_count=MAX_FORM_FIELDS, strict=True) as parser:
        for event in parser.parse(raw):
            if isinstance(event, MultipartSegment):
                segment = event
                content.clear()
            elif event is not None:
                content += event
            elif segment is not None and segment.filename is None:
                fields.append((segment.name, content.decode()))
    return fields


def _fold(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Gather form fields: once is a string, twice or more an array of strings. Raises ApiError T4 for U+0000."""
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise ApiError(T4_FORM)
        gathered.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in gathered.items()}
