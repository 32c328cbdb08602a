"""The application as a whole over HTTP: rows T1 to T6 of errors.md, headers of every answer, odd requests."""

import io
import json
import re
import socket
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import asyncpg
import pytest

from postpost import runtime
from postpost.database import pool
from postpost.http.bodies import MAX_BODY_BYTES
from tests.eventually import eventually
from tests.factories import in_future
from tests.system import open_system
from tests.web.support import UNKNOWN_ID, broken, refused, run_sql, unchanged
from tests.web.test_identity import ROUTES

pytestmark = pytest.mark.anyio

JSON_TYPE = {"Content-Type": "application/json"}
READS_JSON = (
    ("POST", "/create-post"),
    ("PUT", f"/update-post/{UNKNOWN_ID}"),
    ("POST", "/validate-post"),
    ("POST", f"/retry-post/{UNKNOWN_ID}"),
)


# T1 and T2


async def test_t1_when_there_is_no_such_path_then_404_without_a_look_at_the_key(api):
    paths = (
        "/",
        "/nothing",
        "/create-post/x",
        "/get-post",
        f"/get-post/{UNKNOWN_ID}/x",
        "/Create-Post",
        "/list-posts.json",
    )
    for path in paths:
        refused(await api.call("GET", path, key=None), 404, "Not found")
    for path in ("///", "//api", "//api/v2/list-posts", "//list-posts", "//favicon.ico"):
        refused(await api.call("GET", path, key=None), 404, "Not found")


async def test_t1_when_a_path_value_holds_a_slash_then_404(api):
    refused(await api.call("GET", "/get-post/a%2Fb"), 404, "Not found")


ALLOWED = {
    "/create-post": "POST",
    f"/get-post/{UNKNOWN_ID}": "GET",
    f"/update-post/{UNKNOWN_ID}": "PUT",
    f"/delete-post/{UNKNOWN_ID}": "DELETE",
    "/list-posts": "GET",
    f"/post-logs/{UNKNOWN_ID}": "GET",
    "/validate-post": "POST",
    f"/retry-post/{UNKNOWN_ID}": "POST",
    "/platform-connections": "GET",
    "/test-connection/twitter-1": "POST",
}


async def test_t2_when_the_path_exists_with_another_method_then_405_and_allow(api):
    for path, allowed in ALLOWED.items():
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - {allowed}:
            answer = await api.call(method, path, key=None)
            refused(answer, 405, "Method not allowed")
            assert answer.headers["allow"] == allowed


async def test_t2_when_asked_for_the_head_alone_then_405(api):
    answer = await api.call("HEAD", "/list-posts")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


async def test_path_when_it_ends_in_a_slash_then_it_is_the_same_route(api):
    await api.connect("twitter-1")
    body = {"content": "Hello", "platforms": ["twitter-1"]}
    group = (await api.call("POST", "/create-post/", json=body)).body["postGroupId"]
    for method, path in (
        ("GET", f"/get-post/{group}/"),
        ("GET", "/list-posts/"),
        ("GET", "/list-posts/?limit=1"),
        ("GET", f"/post-logs/{group}/"),
        ("GET", "/platform-connections/"),
        ("POST", "/test-connection/twitter-1/"),
        ("DELETE", f"/delete-post/{group}/"),
    ):
        assert (await api.call(method, path)).status == 200, path


# T3, T4 and T5


def padded(size):
    """Return a JSON object of exactly this many bytes."""
    return b'{"content":"' + b"x" * (size - 14) + b'"}'


async def test_t3_when_the_body_is_larger_than_a_mebibyte_then_413(api):
    assert len(padded(MAX_BODY_BYTES)) == MAX_BODY_BYTES == 1_048_576
    async with unchanged(api.database):
        for method, path in READS_JSON:
            answer = await api.call(method, path, data=io.BytesIO(padded(MAX_BODY_BYTES + 1)), headers=JSON_TYPE)
            refused(answer, 413, "Request body too large")
    answer = await api.call("POST", "/create-post", data=io.BytesIO(padded(MAX_BODY_BYTES)), headers=JSON_TYPE)
    refused(answer, 400, "Platforms are required")


async def test_t3_when_the_size_is_not_declared_then_413_all_the_same(api):
    async def chunks():
        for _ in range(40):
            yield b"x" * 65_536

    answer = await api.call("POST", "/create-post", data=chunks(), headers=JSON_TYPE)
    refused(answer, 413, "Request body too large")


async def test_t3_when_refused_then_the_next_request_on_the_connection_is_answered(api):
    for _ in range(3):
        answer = await api.call("POST", "/create-post", data=io.BytesIO(padded(3_000_000)), headers=JSON_TYPE)
        refused(answer, 413, "Request body too large")
        assert (await api.call("GET", "/list-posts")).status == 200


BAD_JSON = (
    b"{",
    b"content=x",
    b"[]",
    b'"text"',
    b"5",
    b"null",
    b"true",
    b'{"content": "x",}',
    b'{"content": NaN}',
    b"{'content': 'x'}",
    b'{"content": "\xff"}',
    b'{"content": "x"}{}',
    b'{"content": "a\\u0000b"}',
    b'{"a\\u0000": 1}',
    b'{"content": "\\ud800"}',
    b'{"a":' * 101 + b"1" + b"}" * 101,
    b"[" * 100_000,
    '{"content": "x"}'.encode("utf-16"),
    b" ",
)


async def test_t4_when_the_body_is_no_json_object_then_400_on_every_route_that_reads_one(api):
    async with unchanged(api.database):
        for method, path in READS_JSON:
            for body in BAD_JSON:
                answer = await api.call(method, path, data=body, headers=JSON_TYPE)
                refused(answer, 400, "Invalid JSON body")


async def test_t4_when_nested_a_hundred_deep_then_read(api):
    body = b'{"a":' * 100 + b"1" + b"}" * 100
    answer = await api.call("POST", "/create-post", data=body, headers=JSON_TYPE)
    refused(answer, 400, "Content is required")


async def test_t4_when_a_form_is_malformed_then_400_with_its_own_sentence(api):
    kind = "application/x-www-form-urlencoded"
    multipart = "multipart/form-data; boundary=b"
    bodies = (
        (kind, b"content=%ff"),
        (kind, b"content=a%00b"),
        (kind, b"\xff=1"),
        (multipart, b"nonsense"),
        (multipart, b'--b\r\nContent-Disposition: form-data; name="content"\r\n\r\nno end'),
        (multipart, b'--b\r\nContent-Disposition: form-data; name="content"\r\n\r\n\xff\r\n--b--\r\n'),
        ("multipart/form-data", b"--b--"),
    )
    for path in ("/create-post", "/validate-post"):
        for content_type, body in bodies:
            answer = await api.call("POST", path, data=body, headers={"Content-Type": content_type})
            refused(answer, 400, "Invalid form body")


async def test_t5_when_the_body_is_of_another_kind_then_415(api):
    kinds = (
        "text/plain",
        "application/xml",
        "text/json",
        "application/jsonp",
        "x",
        "application/json; charset=latin-1",
    )
    for method, path in READS_JSON:
        for kind in kinds:
            answer = await api.call(method, path, data=b"{}", headers={"Content-Type": kind})
            refused(answer, 415, "Unsupported media type")


async def test_t5_when_a_form_is_sent_where_none_is_read_then_415(api):
    for method, path in (READS_JSON[1], READS_JSON[3]):
        for form in ({"status": "draft"}, aiohttp.FormData({"status": "draft"}, default_to_multipart=True)):
            refused(await api.call(method, path, data=form), 415, "Unsupported media type")


async def test_t5_when_there_is_no_body_then_its_type_does_not_matter(api):
    answer = await api.call("POST", "/create-post", headers={"Content-Type": "text/plain"})
    refused(answer, 400, "Content is required")


async def test_body_when_its_type_is_json_in_any_spelling_or_missing_then_read(api):
    for kind in (
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.api+json",
        'application/json;charset="UTF-8"',
    ):
        answer = await api.call("POST", "/create-post", data=b'{"content": "x"}', headers={"Content-Type": kind})
        refused(answer, 400, "Platforms are required")
    answer = await api.call("POST", "/create-post", data=b'{"content": "x"}', skip_auto_headers=["Content-Type"])
    refused(answer, 400, "Platforms are required")


async def test_body_when_a_route_reads_none_then_whatever_is_sent_is_ignored(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1")
    for method, path in (
        ("GET", f"/get-post/{group}"),
        ("GET", "/list-posts"),
        ("GET", f"/post-logs/{group}"),
        ("GET", "/platform-connections"),
        ("POST", "/test-connection/twitter-1"),
        ("DELETE", f"/delete-post/{group}"),
    ):
        for body, kind in ((b"{", "application/json"), (b"\xff" * 2_000_000, "text/plain")):
            if method == "DELETE" and kind == "text/plain":
                continue
            answer = await api.call(method, path, data=io.BytesIO(body), headers={"Content-Type": kind})
            assert answer.status == 200, path


# T6


@asynccontextmanager
async def database_away(dsn):
    """Let the database accept nobody, as while it is being taken out of service, and throw everybody out."""
    name = re.search(r"/(test_\d+)\?", dsn)[1]
    admin = await asyncpg.connect(dsn.replace(f"/{name}?", "/postgres?"))
    try:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


async def test_t6_when_the_database_is_away_then_503_on_every_route_and_back_with_it(api, dsn):
    await api.connect("twitter-1")
    async with database_away(dsn):
        for method, path in ROUTES:
            answer = await api.call(method, path)
            refused(answer, 503, "Service temporarily unavailable")
            assert int(answer.headers["retry-after"]) > 0
        refused(await api.call("GET", "//health/ready", key=None), 503, "Service temporarily unavailable")
        assert (await api.call("GET", "//health/live", key=None)).status == 200

    async def back():
        body = {"content": "Hello", "platforms": ["twitter-1"], "scheduledTime": in_future()}
        answer = await api.call("POST", "/create-post", json=body)
        assert answer.status == 200, answer
        return True

    await eventually(back)


async def test_t6_when_the_connections_break_and_the_database_is_there_then_the_next_request_is_answered(api):
    assert (await api.call("GET", "/list-posts")).status == 200
    await run_sql(
        api.database,
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        """,
    )

    async def back():
        answer = await api.call("GET", "/list-posts")
        assert answer.status in (200, 503)
        return answer.status == 200

    await eventually(back)


async def test_t6_when_somebody_holds_the_account_too_long_then_503_and_nothing_changes(dsn, monkeypatch):
    monkeypatch.setattr(pool, "LOCK_TIMEOUT", timedelta(milliseconds=50))
    async with open_system(dsn) as api:
        await api.connect("twitter-1")
        body = {"content": "Hello", "platforms": ["twitter-1"], "scheduledTime": in_future()}
        async with unchanged(api.database), api.database.transaction() as holding:
            await holding.execute("SELECT FROM accounts FOR UPDATE")
            answer = await api.call("POST", "/create-post", json=body)
        refused(answer, 503, "Service temporarily unavailable")
        assert (await api.call("POST", "/create-post", json=body)).status == 200


async def test_t6_when_every_connection_is_busy_too_long_then_503(dsn, monkeypatch):
    monkeypatch.setattr(pool, "ACQUIRE_TIMEOUT_SECONDS", 0.1)
    async with open_system(dsn, database_pool_size=2) as api:
        async with api.database.connection(), api.database.connection():
            refused(await api.call("GET", "/list-posts"), 503, "Service temporarily unavailable")
        assert (await api.call("GET", "/list-posts")).status == 200


# Every answer


async def test_request_id_when_the_client_sends_a_visible_one_then_it_is_taken_over(api):
    for path in ("/list-posts", "/nothing", "//health/live"):
        for mine in ("a", "x" * 128, "6f1c-{}!~"):
            answer = await api.call("GET", path, headers={"x-request-id": mine})
            assert answer.headers.getall("x-request-id") == [mine]


async def test_request_id_when_the_clients_is_absent_or_odd_then_a_new_one_each_time(api):
    seen = set()
    for headers in ({}, {"x-request-id": ""}, {"x-request-id": "x" * 129}, {"x-request-id": "a b"}, {}):
        answer = await api.call("GET", "/list-posts", headers=headers)
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 5
    assert all(re.fullmatch("[0-9a-f]{24}", one) for one in seen)


async def test_answer_when_ever_given_then_json_in_utf_8_without_cors_or_server_headers(api):
    await api.connect("twitter-1")
    group = await api.create("twitter-1", content="Grüße 👋")
    answer = await api.call("GET", f"/get-post/{group}", headers={"Origin": "https://example.org"})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.text.encode())
    assert "Grüße 👋" in answer.text
    assert not {name.lower() for name in answer.headers} & {"server", "access-control-allow-origin", "set-cookie"}


async def test_answer_when_our_own_failure_then_no_name_of_ours_leaks(api):
    failures = 0
    async with broken(api.database, "post_groups"):
        for method, path in ROUTES:
            answer = await api.call(method, path, json={"status": "draft"})
            failures += answer.status == 500
            for secret in ("post_groups", "taken_away", "asyncpg", "Traceback", "SELECT", ".py", api.key):
                assert secret not in answer.text
    assert failures == 6


async def test_host_when_it_is_none_then_400_and_not_500(api):
    answer = await api.call("GET", "/list-posts", headers={"Host": "not a host"})
    assert answer.status in (200, 400)


async def test_openapi_when_read_then_it_names_every_route_of_the_application(api):
    document = json.loads((await api.call("GET", "//openapi.json", key=None)).text)
    described = {
        (method.upper(), path.partition("{")[0]) for path, item in document["paths"].items() for method in item
    }
    assert described == {(method, path.removesuffix(UNKNOWN_ID).removesuffix("twitter-1")) for method, path in ROUTES}


def test_listen_when_a_client_connects_then_no_answer_waits_for_an_acknowledgement():
    with runtime.listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
