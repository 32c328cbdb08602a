import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from postpost import __version__
from postpost.outgoing import MAX_ANSWER_BYTES, HttpClient
from postpost.platforms.base import ErrorCode, PlatformError, Retry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    http = HttpClient(timeout_seconds=2)
    yield http
    await http.close()


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def spoken(conversation: Conversation) -> AsyncIterator[str]:
    """A raw server, for what a proper one never does."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await conversation(reader, writer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.decode().split("\r\n"):
        if line.lower().startswith("content-length:"):
            await reader.readexactly(int(line.split(":")[1]))


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def failure_of(call: Awaitable[object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        await call
    return caught.value


async def test_request_when_answered_then_returns_status_lower_case_headers_and_body(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=418, headers={"X-Some-Thing": "a"}, body=b"short")

    async with served(answer) as url:
        response = await client.request("GET", url)
    assert (response.status, response.headers["x-some-thing"], response.body) == (418, "a", b"short")


async def test_request_when_json_given_then_sends_compact_json(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.content_type} {await request.text()}")

    async with served(answer) as url:
        response = await client.request("POST", url, json={"a": None, "b": [1]})
    assert response.text() == 'application/json {"a":null,"b":[1]}'


async def test_request_when_form_given_then_sends_url_encoded_pairs(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.content_type} {await request.text()}")

    async with served(answer) as url:
        response = await client.request("POST", url, form={"a": "x y&z"})
    assert response.text() == "application/x-www-form-urlencoded a=x+y%26z"


async def test_request_when_no_body_then_sends_no_content_type(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"type": request.headers.get("Content-Type"), "size": request.content_length})

    async with served(answer) as url:
        response = await client.request("POST", url)
    assert response.json() == {"type": None, "size": 0}


async def test_request_when_path_is_encoded_then_sends_it_unchanged(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.raw_path)

    async with served(answer) as url:
        response = await client.request("GET", f"{url}/a%28b%2Cc%29/(x:y)?k=1", params={"q": "urn:li:a b"})
    assert response.text() == "/a%28b%2Cc%29/(x:y)?k=1&q=urn%3Ali%3Aa%20b"


async def test_request_when_sent_then_names_postpost_as_user_agent(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["User-Agent"])

    async with served(answer) as url:
        assert (await client.request("GET", url)).text() == f"PostPost/{__version__}"


async def test_request_when_redirected_then_returns_the_redirect(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with served(answer) as url:
        assert (await client.request("GET", url)).status == 302


async def test_request_when_cookie_is_set_then_does_not_send_it_back(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Cookie", ""), headers={"Set-Cookie": "a=b"})

    async with served(answer) as url:
        await client.request("GET", url)
        assert (await client.request("GET", url)).text() == ""


async def test_request_when_answer_is_too_long_then_cuts_it(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (MAX_ANSWER_BYTES + 5))

    async with served(answer) as url:
        assert len((await client.request("GET", url)).body) == MAX_ANSWER_BYTES


async def test_request_when_connection_is_refused_then_nothing_was_sent(client: HttpClient) -> None:
    error = await failure_of(client.request("POST", f"http://127.0.0.1:{unused_port()}/", json={}))
    assert (error.code, error.refused, error.retry) == (ErrorCode.NETWORK_ERROR, True, Retry.BACK_OFF)
    assert (error.status, error.raw) == (None, None)


async def test_request_when_name_is_unknown_then_nothing_was_sent(client: HttpClient) -> None:
    error = await failure_of(client.request("POST", "http://nowhere.invalid/", json={}))
    assert (error.code, error.refused) == (ErrorCode.NETWORK_ERROR, True)
    assert error.message == "The platform could not be reached: its name was not found"


async def test_request_when_server_speaks_no_tls_then_nothing_was_sent(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    async with served(answer) as url:
        error = await failure_of(client.request("POST", url.replace("http:", "https:"), json={}))
    assert (error.code, error.refused) == (ErrorCode.NETWORK_ERROR, True)
    assert not isinstance(error.__cause__, ssl.SSLError)


@pytest.mark.parametrize("address", ["http:///path", "http://host:port/", "nowhere"])
async def test_request_when_address_is_no_url_then_is_not_tried_again(client: HttpClient, address: str) -> None:
    error = await failure_of(client.request("GET", address))
    assert (error.code, error.refused, error.retry) == (ErrorCode.NETWORK_ERROR, True, Retry.NEVER)


async def test_request_when_token_holds_a_line_break_then_fails_without_showing_it(client: HttpClient) -> None:
    call = client.request("GET", "http://127.0.0.1:1/", headers={"Authorization": "Bearer se\ncret"})
    error = await failure_of(call)
    assert (error.code, error.refused) == (ErrorCode.UNKNOWN_ERROR, True)
    assert "cret" not in error.message


async def test_request_when_connection_breaks_after_sending_then_proves_nothing(client: HttpClient) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with spoken(hang_up) as url:
        error = await failure_of(client.request("POST", url, json={}))
    assert (error.code, error.refused, error.retry) == (ErrorCode.NETWORK_ERROR, False, Retry.BACK_OFF)


async def test_request_when_answer_breaks_off_then_proves_nothing(client: HttpClient) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    async with spoken(half) as url:
        error = await failure_of(client.request("POST", url, json={}))
    assert (error.code, error.refused) == (ErrorCode.NETWORK_ERROR, False)


async def test_request_when_answer_is_no_http_then_proves_nothing(client: HttpClient) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"220 mail.example ready\r\n\r\n")
        await writer.drain()

    async with spoken(babble) as url:
        error = await failure_of(client.request("POST", url, json={}))
    assert (error.code, error.refused) == (ErrorCode.NETWORK_ERROR, False)


async def test_request_when_no_answer_comes_then_times_out_unproven() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    client = HttpClient(timeout_seconds=0.2)
    async with spoken(wait) as url:
        error = await failure_of(client.request("POST", url, json={}))
        await client.close()
    assert (error.code, error.refused, error.retry) == (ErrorCode.TIMEOUT_ERROR, False, Retry.BACK_OFF)
    assert (error.status, error.raw) == (None, None)


async def test_request_when_connecting_takes_too_long_then_nothing_was_sent() -> None:
    # A listener that accepts nobody, its queue filled: the kernel leaves further attempts unanswered.
    with socket.socket() as full, contextlib.ExitStack() as fillers:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        client = HttpClient(timeout_seconds=0.3)
        error = await failure_of(client.request("POST", f"http://127.0.0.1:{full.getsockname()[1]}/", json={}))
        await client.close()
    assert (error.code, error.refused) == (ErrorCode.TIMEOUT_ERROR, True)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_request_when_kept_connection_breaks_then_is_not_sent_again(client: HttpClient, method: str) -> None:
    received: list[int] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        received.append(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await read_request(reader)
        received.append(2)

    async with spoken(answer_once) as url:
        await client.request(method, url, json={})
        error = await failure_of(client.request(method, url, json={}))
    assert (received, error.code, error.refused) == ([1, 2], ErrorCode.NETWORK_ERROR, False)


async def test_request_when_logged_then_shows_host_and_status_but_no_secret(client: HttpClient) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="canary-body")

    async with served(answer) as url:
        with capture_logs() as logs:
            await client.request(
                "POST",
                f"{url}/botcanary-path/send",
                params={"access_token": "canary-query"},
                headers={"Authorization": "Bearer canary-header"},
                form={"secret": "canary-form"},
            )
    assert [(line["event"], line["host"], line["outcome"]) for line in logs] == [("http_request", "127.0.0.1", 200)]
    assert "canary" not in str(logs)
