import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from litestar import Request

from postpost.errors import ApiError
from postpost.http.bodies import (
    MAX_BODY_BYTES,
    MAX_FORM_FIELDS,
    decode_object,
    first_values,
    leading_integer,
    page_number,
    page_size,
    read_object,
)
from postpost.values import decode_json, falsy

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"


class Upload:
    """A request whose body arrives in the given parts; remembers how many were asked for."""

    def __init__(self, *parts: bytes, complete: bool = True, **headers: str) -> None:
        self.parts = list(parts) or [b""]
        self.complete = complete
        self.read = 0
        raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        scope: Any = {"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": b"", "state": {}}
        self.request: Request[Any, Any, Any] = Request(scope, receive=self.receive)

    async def receive(self) -> Any:
        if self.read == len(self.parts):
            return {"type": "http.disconnect"}
        part = self.parts[self.read]
        self.read += 1
        return {"type": "http.request", "body": part, "more_body": not self.complete or self.read < len(self.parts)}


async def read(*parts: bytes, content_type: str | None = None, forms: bool = False, **headers: str) -> dict[str, Any]:
    if content_type is not None:
        headers["content_type"] = content_type
    return await read_object(Upload(*parts, **headers).request, forms=forms)


async def refusal(*parts: bytes, content_type: str | None = None, forms: bool = False, **headers: str) -> str:
    with pytest.raises(ApiError) as caught:
        await read(*parts, content_type=content_type, forms=forms, **headers)
    return caught.value.row.id


def outcome(raw: bytes, content_type: str) -> str:
    """Read a body without an event loop, since Hypothesis calls plain functions: nothing here really waits."""
    try:
        read(raw, content_type=content_type, forms=True).send(None)
    except StopIteration:
        return "read"
    except ApiError as error:
        return error.row.id
    return "waiting"


def part(name: str, value: bytes, more: bytes = b"") -> bytes:
    return (
        b'--XX\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + more + b"\r\n\r\n" + value + b"\r\n"
    )


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        " ",
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=utf8",
        "application/json; profile=x",
        "application/vnd.api+json",
        "application/problem+json; charset=utf-8",
    ],
)
@pytest.mark.anyio
async def test_read_object_when_the_type_is_json_or_missing_then_the_object_is_read(content_type: str | None) -> None:
    assert await read(b'{"a": [1, "\xc3\xa9"]}', content_type=content_type) == {"a": [1, "é"]}


@pytest.mark.parametrize(
    ("content_type", "forms"),
    [
        ("text/plain", True),
        ("text/json", True),
        ("json", True),
        ("application/jsonx", True),
        ("application/+json", True),
        ("application/xml", True),
        ("application/octet-stream", True),
        ("application/json; charset=iso-8859-1", True),
        ("application/x-www-form-urlencoded; charset=latin1", True),
        (URLENCODED, False),
        (MULTIPART, False),
        ("multipart/mixed; boundary=XX", True),
        ("application/json, text/plain", True),
        ("\xff", True),
    ],
)
@pytest.mark.anyio
async def test_read_object_when_the_type_is_not_read_here_then_t5(content_type: str, forms: bool) -> None:
    assert await refusal(b"{}", content_type=content_type, forms=forms) == "T5"


@pytest.mark.anyio
async def test_read_object_when_the_body_is_compressed_then_t5() -> None:
    assert await refusal(b"{}", content_type="application/json", content_encoding="gzip") == "T5"


@pytest.mark.parametrize("content_type", [None, "text/plain", URLENCODED, MULTIPART, "application/json"])
@pytest.mark.parametrize("headers", [{}, {"content_length": "0"}, {"transfer_encoding": "chunked"}])
@pytest.mark.anyio
async def test_read_object_when_there_is_no_body_then_it_is_an_empty_object(
    content_type: str | None, headers: dict[str, str]
) -> None:
    assert await read(b"", b"", content_type=content_type, forms=True, **headers) == {}


@pytest.mark.anyio
async def test_read_object_when_the_body_comes_in_parts_then_they_are_joined() -> None:
    assert await read(b"", b'{"a"', b": 1", b"}") == {"a": 1}


@pytest.mark.anyio
async def test_read_object_when_the_body_is_as_large_as_allowed_then_it_is_read() -> None:
    text = "x" * (MAX_BODY_BYTES - len('{"a":""}'))
    body = json.dumps({"a": text}, separators=(",", ":")).encode()
    assert (await read(body, content_length=str(len(body))))["a"] == text


@pytest.mark.anyio
async def test_read_object_when_the_declared_size_is_too_large_then_t3_without_reading() -> None:
    upload = Upload(b"{}", content_length=str(MAX_BODY_BYTES + 1))
    with pytest.raises(ApiError, match="T3"):
        await read_object(upload.request, forms=False)
    assert upload.read == 0


@pytest.mark.anyio
async def test_read_object_when_the_declared_size_is_absurd_then_t3() -> None:
    assert await refusal(b"{}", content_length="9" * 5000) == "T3"


@pytest.mark.anyio
async def test_read_object_when_an_undeclared_body_is_too_large_then_reading_stops_early() -> None:
    upload = Upload(*[b"x" * 65536] * 1000)
    with pytest.raises(ApiError, match="T3"):
        await read_object(upload.request, forms=False)
    assert upload.read == 17


@pytest.mark.anyio
async def test_read_object_when_type_and_size_are_wrong_then_the_type_answers() -> None:
    assert await refusal(b"x", content_type="text/plain", content_length="99999999") == "T5"


@pytest.mark.anyio
async def test_read_object_when_size_and_syntax_are_wrong_then_the_size_answers() -> None:
    assert await refusal(b"{" * (MAX_BODY_BYTES + 1)) == "T3"


@pytest.mark.anyio
async def test_read_object_when_the_client_leaves_in_the_middle_then_half_a_body_is_refused() -> None:
    upload = Upload(b'{"content": "whole"}', complete=False)
    with pytest.raises(ApiError, match="T4"):
        await read_object(upload.request, forms=False)


@pytest.mark.parametrize(
    "raw",
    [
        b" ",
        b"{",
        b"{}x",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 01}',
        b"[]",
        b'"text"',
        b"1",
        b"null",
        b"true",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00\\ud800"}',
        b'{"a": "\\ud83d x"}',
        b'{"\\ud800": 1}',
        b'{"a": "\\u0000"}',
        b'{"a": ["x", {"b": "y\\u0000"}]}',
        b'{"a\\u0000": 1}',
        b'{"a": {"\\u0000": 1}}',
        b'{"a": "\x00"}',
        b'{"a": "\n"}',
        b"\x00",
        '{"a": 1}'.encode("utf-16"),
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":' * 101 + b"1" + b"}" * 101,
        b'{"a":' + b"[" * 200_000,
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_decode_object_when_malformed_then_t4(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        decode_object(raw)
    assert caught.value.row.id == "T4"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", {}),
        (b"{}", {}),
        (b" \r\n\t{ } ", {}),
        (b"\xef\xbb\xbf{}", {}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a": "\\\\ud800"}', {"a": "\\ud800"}),
        (b'{"a": ' + b"[[]," * 90 + b"1" + b"]" * 90 + b"}", None),
        (b'{"a":' + b"[" * 99 + b"]" * 99 + b"}", None),
        (b'{"a": "' + b"[" * 500 + b'"}', {"a": "[" * 500}),
        (b'{"a": [' + b"{}," * 500 + b"{}]}", {"a": [{}] * 501}),
    ],
)
def test_decode_object_when_well_formed_then_the_object(raw: bytes, expected: dict[str, Any] | None) -> None:
    decoded = decode_object(raw)
    assert decoded == (json.loads(raw) if expected is None else expected)


@pytest.mark.parametrize("text", ["twitter-1", "", "{", '"\\ud800"', '"\\u0000"', "[" * 101 + "]" * 101, "\ud800"])
def test_decode_json_when_a_string_is_not_json_then_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any kind of it
        decode_json(text)


@given(st.binary(max_size=200))
@example(b"--XX--")
@example(b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--XX--')
def test_reading_when_given_any_bytes_then_only_api_errors_are_raised(raw: bytes) -> None:
    for content_type in ("application/json", URLENCODED, MULTIPART, "multipart/form-data"):
        expected = "T4" if content_type == "application/json" else "T4-form"
        assert outcome(raw, content_type) in ("read", expected)


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=8))
)
def test_decode_object_when_given_any_object_then_it_is_read_unless_it_holds_nul(value: dict[str, Any]) -> None:
    for raw in (json.dumps(value).encode(), msgspec.json.encode(value)):
        if "\\u0000" in json.dumps(value).replace("\\\\", ""):
            with pytest.raises(ApiError):
                decode_object(raw)
        else:
            assert decode_object(raw) == value


@given(st.text(alphabet='{}[]",:\\ud80123456789abcde \n', max_size=60))
def test_decode_object_when_given_json_like_text_then_it_agrees_with_the_standard_library(text: str) -> None:
    try:
        ours: Any = decode_object(text.encode())
    except ApiError:
        return
    if text:
        assert ours == json.loads(text)


@pytest.mark.anyio
async def test_urlencoded_form_when_read_then_repeated_fields_are_arrays() -> None:
    body = b"content=Hello+world%21&platforms=twitter-1&platforms=bluesky-did%3Aplc%3Aa&empty=&bare"
    assert await read(body, content_type=URLENCODED, forms=True) == {
        "content": "Hello world!",
        "platforms": ["twitter-1", "bluesky-did:plc:a"],
        "empty": "",
        "bare": "",
    }


@pytest.mark.parametrize("body", [b"a=%ff", b"a=\xff", b"a=%00", b"%00=a", b"a=\x00", b"a=1&" * (MAX_FORM_FIELDS + 1)])
@pytest.mark.anyio
async def test_urlencoded_form_when_malformed_then_t4_names_the_form(body: bytes) -> None:
    assert await refusal(body, content_type=URLENCODED, forms=True) == "T4-form"


@pytest.mark.anyio
async def test_multipart_form_when_read_then_files_are_left_out() -> None:
    body = (
        part("content", "Grüße\r\nzwei".encode())
        + part("platforms", b'["twitter-1"]')
        + part("tag", b"a")
        + part("tag", b"b")
        + part("file", b"\xff\x00", b'; filename="a.jpg"')
        + b"--XX--\r\n"
    )
    assert await read(body, content_type=MULTIPART, forms=True) == {
        "content": "Grüße\r\nzwei",
        "platforms": '["twitter-1"]',
        "tag": ["a", "b"],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"nothing of the kind, and long enough to be sure",
        part("a", b"1"),
        part("a", b"\xff") + b"--XX--",
        part("a", b"\x00") + b"--XX--",
        b"--XX\r\n\r\nno header\r\n--XX--",
        b'--XX\r\nContent-Disposition: attachment; name="a"\r\n\r\n1\r\n--XX--',
        part("a", b"1") * (MAX_FORM_FIELDS + 1) + b"--XX--",
    ],
)
@pytest.mark.anyio
async def test_multipart_form_when_malformed_then_t4_names_the_form(body: bytes) -> None:
    assert await refusal(body, content_type=MULTIPART, forms=True) == "T4-form"


@pytest.mark.anyio
async def test_multipart_form_when_the_boundary_is_missing_then_t4_names_the_form() -> None:
    assert await refusal(b"--XX--", content_type="multipart/form-data", forms=True) == "T4-form"


@pytest.mark.parametrize("value", [None, False, 0, 0.0, -0.0, ""])
def test_falsy_when_null_false_zero_or_empty_then_true(value: Any) -> None:
    assert falsy(value)


@pytest.mark.parametrize("value", [True, 1, -1, 0.1, "0", "false", " ", [], {}])
def test_falsy_when_anything_else_then_false(value: Any) -> None:
    assert not falsy(value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"page=2&limit=5", {"page": "2", "limit": "5"}),
        (b"page=1&page=2", {"page": "1"}),
        (b"page=&page=2", {}),
        (b"status", {}),
        (b"fromDate=2026-03-01T00:00:00+01:00", {"fromDate": "2026-03-01T00:00:00 01:00"}),
        (b"platform=%E2%9C%93&a=%ff&b=\xff", {"platform": "✓", "a": "\ufffd", "b": "\xff"}),
        (b"&&=x", {"": "x"}),
    ],
)
def test_first_values_when_parsed_then_the_first_of_each_counts(query: bytes, expected: dict[str, str]) -> None:
    assert first_values(query) == expected


@given(st.binary())
def test_first_values_when_given_any_bytes_then_it_never_fails(query: bytes) -> None:
    assert all(first_values(query).values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("2.7", 2),
        ("5abc", 5),
        (" 7", 7),
        ("+3", 3),
        ("-4x", -4),
        ("007", 7),
        ("0x10", 0),
        ("1e3", 1),
        ("", None),
        ("abc", None),
        ("-", None),
        ("- 1", None),
        (".5", None),
        ("٣", None),
    ],
)
def test_leading_integer_when_given_a_text_then_its_first_digits_count(text: str, expected: int | None) -> None:
    assert leading_integer(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 1),
        ("", 1),
        ("x", 1),
        ("0", 1),
        ("-3", 1),
        ("2.7", 2),
        ("2147483648", 2147483647),
        ("9" * 9999, 2147483647),
    ],
)
def test_page_number_when_given_a_text_then_it_is_in_range(text: str | None, expected: int) -> None:
    assert page_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 20),
        ("", 20),
        ("x", 20),
        ("0", 20),
        ("00", 20),
        ("-3", 1),
        ("1", 1),
        ("100", 100),
        ("101", 100),
        ("9" * 9999, 100),
    ],
)
def test_page_size_when_given_a_text_then_it_is_in_range(text: str | None, expected: int) -> None:
    assert page_size(text) == expected
