import pytest

from postpost.sandbox.connection import ClientGoneError, TooLargeError, drop, encoded_path, read_body

pytestmark = pytest.mark.anyio


def sends(*messages):
    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    return receive


def part(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_body_when_it_comes_in_parts_then_it_is_joined():
    receive = sends(part(b"a", more=True), part(b"b"))
    assert await read_body({"headers": []}, receive, 10) == b"ab"


async def test_body_when_its_length_is_announced_over_the_limit_then_too_large():
    with pytest.raises(TooLargeError):
        await read_body({"headers": [(b"content-length", b"11")]}, sends(), 10)


async def test_body_when_its_parts_exceed_the_limit_then_too_large():
    with pytest.raises(TooLargeError):
        await read_body({"headers": []}, sends(part(b"a" * 6, more=True), part(b"a" * 6)), 10)


async def test_body_when_the_client_leaves_then_client_gone():
    with pytest.raises(ClientGoneError):
        await read_body({"headers": []}, sends(part(b"a", more=True), {"type": "http.disconnect"}), 10)


@pytest.mark.parametrize(
    ("scope", "path"), [({"raw_path": b"/a%2Fb", "path": "/a/b"}, "/a%2Fb"), ({"path": "/a b"}, "/a%20b")]
)
def test_path_when_the_server_keeps_it_raw_then_it_stays_encoded(scope, path):
    assert encoded_path(scope) == path


async def test_drop_when_the_server_is_not_uvicorn_then_it_says_so():
    async def send(_message):
        raise AssertionError("nothing is to be sent")

    with pytest.raises(ConnectionAbortedError):
        await drop(sends(), send)
