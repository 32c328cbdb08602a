import json
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
import structlog
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import NotAuthorizedException, NotFoundException
from litestar.params import FromPath
from structlog.testing import capture_logs

from postpost.errors import A1, C14, G1, G2, ApiError, LimitExceeded
from postpost.http.transport import EXCEPTION_HANDLERS, Transport, early_stages, is_database_away, json_response
from postpost.ids import is_id

SECRET = "sk_canary_secret"


@get("/api/v1/get-post/{post_group_id:str}", opt={"unexpected": G2})
async def get_post(post_group_id: FromPath[str]) -> Response[bytes]:
    match post_group_id:
        case "refused":
            raise ApiError(G1)
        case "limit":
            raise LimitExceeded.connections("Starter", limit=3, used=5)
        case "broken":
            raise RuntimeError("something")
        case "away":
            raise asyncpg.CannotConnectNowError("starting up")
        case "missing":
            raise NotFoundException
    return json_response({"success": True, "text": "Grüße"}, headers={"x-more": "1"})


@get("/api/v1/early", opt={"unexpected": G2})
async def early(request: Request[Any, Any, Any]) -> Response[bytes]:
    with early_stages(request):
        raise RuntimeError("while identifying the caller")


@get("/api/v1/late", opt={"unexpected": G2})
async def late(request: Request[Any, Any, Any]) -> Response[bytes]:
    with early_stages(request):
        pass
    raise RuntimeError("while working")


@post("/api/v1/create-post", opt={"unexpected": C14})
async def create_post() -> dict[str, bool]:
    return {"success": True}


@get("/plain")
async def plain() -> None:
    raise RuntimeError("a route without a 500 of its own")


@get("/denied")
async def denied() -> None:
    raise NotAuthorizedException


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


APP = Transport(
    Litestar(
        [get_post, early, late, create_post, plain, denied],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
)


async def call(path: str, method: str = "GET", app: Any = APP, query: bytes = b"", **headers: bytes) -> Answer:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.replace("_", "-").encode(), value) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    start, *rest = sent
    names = [name.decode() for name, _ in start["headers"]]
    assert len(names) == len(set(names))
    return Answer(
        start["status"],
        {name.decode().lower(): value.decode() for name, value in start["headers"]},
        b"".join(message["body"] for message in rest),
    )


@pytest.fixture(autouse=True)
def logs() -> Any:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as entries:
        yield entries


@pytest.mark.anyio
async def test_answer_when_all_is_well_then_it_is_utf8_json_with_a_request_id() -> None:
    answer = await call("/api/v1/get-post/1")
    assert (answer.status, answer.json) == (200, {"success": True, "text": "Grüße"})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["content-length"] == str(len(answer.raw))
    assert answer.headers["x-more"] == "1"
    assert is_id(answer.headers["x-request-id"])


@pytest.mark.anyio
async def test_answer_when_the_framework_encodes_it_then_the_charset_is_added() -> None:
    answer = await call("/api/v1/create-post", "POST")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("given", [b"a", b"req-123/x", b"~" * 128])
@pytest.mark.anyio
async def test_request_id_when_the_client_sends_a_good_one_then_it_is_taken_over(given: bytes) -> None:
    assert (await call("/nowhere", x_request_id=given)).headers["x-request-id"] == given.decode()


@pytest.mark.parametrize("given", [b"", b"a b", b"a\tb", b"x" * 129, b"\xc3\xa9", b"a\n", b"\x7f"])
@pytest.mark.anyio
async def test_request_id_when_the_client_sends_a_bad_one_then_a_new_one_is_made(given: bytes) -> None:
    assert is_id((await call("/nowhere", x_request_id=given)).headers["x-request-id"])


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/nowhere", 404, "Not found"),
        ("/", 404, "Not found"),
        ("/api/v1/get-post", 404, "Not found"),
        ("/api/v1/get-post/a/b", 404, "Not found"),
        ("/api/v1/\0", 404, "Not found"),
        ("/\ufffd" * 3000, 404, "Not found"),
        ("/api/v1/get-post/missing", 404, "Not found"),
        ("/api/v1/get-post/refused", 404, "Post group not found"),
        ("/api/v1/get-post/broken", 500, "Failed to fetch post group"),
        ("/api/v1/get-post/away", 503, "Service temporarily unavailable"),
        ("/api/v1/early", 500, "Internal server error"),
        ("/api/v1/late", 500, "Failed to fetch post group"),
        ("/plain", 500, "Internal server error"),
        ("/denied", 400, "Bad request"),
    ],
)
@pytest.mark.anyio
async def test_error_when_a_route_or_the_router_fails_then_its_row_is_answered(
    path: str, status: int, error: str
) -> None:
    answer = await call(path)
    assert (answer.status, answer.json) == (status, {"error": error})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("value", ["\0", "\ufffd", "x" * 60_000, "..", "%2F", "a b", "\U0001f600"])
@pytest.mark.anyio
async def test_path_value_when_strange_then_it_reaches_the_route_without_failing(value: str) -> None:
    assert (await call(f"/api/v1/get-post/{value}")).status == 200


@pytest.mark.anyio
async def test_path_when_it_ends_with_a_slash_then_the_slash_is_ignored() -> None:
    assert (await call("/api/v1/get-post/1/")).status == 200


@pytest.mark.anyio
async def test_limit_when_exceeded_then_its_fields_are_answered() -> None:
    answer = await call("/api/v1/get-post/limit")
    assert answer.status == 403
    assert answer.json["code"] == "CONNECTIONS_OVER_LIMIT"
    assert answer.json["periodStart"] is None


@pytest.mark.anyio
async def test_database_when_away_then_retry_after_is_sent_and_nothing_is_an_error(logs: list[Any]) -> None:
    answer = await call("/api/v1/get-post/away")
    assert answer.headers["retry-after"].isdigit()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("database_unavailable", "warning"),
        ("request", "info"),
    ]


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.anyio
async def test_method_when_the_path_has_others_then_405_lists_them(method: str) -> None:
    answer = await call("/api/v1/get-post/1", method)
    assert (answer.status, answer.json) == (405, {"error": "Method not allowed"})
    assert answer.headers["allow"] == "GET"


@pytest.mark.anyio
async def test_method_when_the_path_does_not_exist_then_404() -> None:
    assert (await call("/api/v1/nowhere", "OPTIONS")).status == 404


@pytest.mark.anyio
async def test_host_header_when_it_is_none_then_bad_request() -> None:
    answer = await call("/plain", host=b"a b")
    assert (answer.status, answer.json) == (400, {"error": "Bad request"})


@pytest.mark.anyio
async def test_access_log_when_a_request_ends_then_it_names_the_route_and_nothing_of_the_client(
    logs: list[Any],
) -> None:
    await call(f"/api/v1/get-post/{SECRET}", query=f"key={SECRET}".encode(), x_api_key=SECRET.encode())
    (entry,) = logs
    assert entry.pop("duration_seconds") >= 0
    assert is_id(entry.pop("request_id"))
    assert entry == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/api/v1/get-post/{post_group_id}",
        "status": 200,
    }


@pytest.mark.anyio
async def test_access_log_when_the_method_is_options_then_it_is_logged_as_sent(logs: list[Any]) -> None:
    await call("/api/v1/get-post/1", "OPTIONS")
    assert logs[-1]["method"] == "OPTIONS"


@pytest.mark.anyio
async def test_unexpected_error_when_rendered_then_it_is_logged_with_the_request_id(logs: list[Any]) -> None:
    answer = await call("/api/v1/get-post/broken")
    entry = logs[0]
    assert entry["event"] == "unexpected_error"
    assert entry["request_id"] == answer.headers["x-request-id"]
    assert isinstance(entry["exc_info"], RuntimeError)
    assert entry["route"] == "/api/v1/get-post/{post_group_id}"


@pytest.mark.anyio
async def test_refusal_when_expected_then_nothing_is_logged_as_an_error(logs: list[Any]) -> None:
    await call("/api/v1/get-post/refused")
    assert [entry["log_level"] for entry in logs] == ["info"]


@pytest.mark.anyio
async def test_last_resort_when_the_application_raises_then_a11(logs: list[Any]) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("the framework itself")

    answer = await call("/x", app=Transport(broken))
    assert (answer.status, answer.json) == (500, {"error": "Internal server error"})
    assert is_id(answer.headers["x-request-id"])
    assert [entry["event"] for entry in logs] == ["unexpected_error", "request"]
    assert logs[-1]["status"] == 500


@pytest.mark.anyio
async def test_last_resort_when_half_an_answer_is_out_then_the_failure_goes_on_to_the_server() -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    with pytest.raises(RuntimeError, match="too late"):
        await call("/x", app=Transport(half))


@pytest.mark.anyio
async def test_transport_when_the_scope_is_not_http_then_it_goes_through_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope: Any = {"type": "lifespan"}
    await Transport(app)(scope, app, app)  # type: ignore[arg-type]
    assert seen == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (asyncpg.ConnectionDoesNotExistError("gone"), True),
        (asyncpg.ConnectionFailureError("gone"), True),
        (asyncpg.PostgresConnectionError("gone"), True),
        (asyncpg.AdminShutdownError("stopping"), True),
        (asyncpg.CrashShutdownError("crashed"), True),
        (asyncpg.CannotConnectNowError("starting"), True),
        (asyncpg.TooManyConnectionsError("full"), True),
        (asyncpg.LockNotAvailableError("held too long"), True),
        (asyncpg.DeadlockDetectedError("a circle"), True),
        (asyncpg.InternalClientError("cannot switch to state 11"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InterfaceError("cannot call Connection.fetch(): the underlying connection is closed"), True),
        (asyncpg.InterfaceError("pool is closing"), True),
        (asyncpg.InterfaceError("the server expects 2 arguments"), False),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.QueryCanceledError("slow"), False),
        (ConnectionRefusedError(), False),
        (TimeoutError(), False),
        (FileNotFoundError(), False),
        (ApiError(A1), False),
    ],
)
def test_is_database_away_when_given_an_error_then_only_the_passing_ones_count(error: Exception, away: bool) -> None:
    assert is_database_away(error) is away


@pytest.mark.anyio
async def test_is_database_away_when_asyncpg_cannot_connect_then_it_is() -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - which one depends on the machine
        await asyncpg.connect(host="127.0.0.1", port=1, user="u", password="p", database="d")
    assert is_database_away(caught.value)


@pytest.mark.anyio
async def test_is_database_away_when_connecting_takes_too_long_then_it_is() -> None:
    with pytest.raises((TimeoutError, OSError)) as caught:
        await asyncpg.connect(host="127.0.0.1", port=1, user="u", password="p", database="d", timeout=0)
    assert is_database_away(caught.value)
