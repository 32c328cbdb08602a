import socket
import threading

import aiohttp
import pytest
import uvicorn

from postpost.sandbox.app import create_app
from tests.sandbox.support import Client, MovableClock, new_account


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config):
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.ready.set()


@pytest.fixture(scope="session")
def running():
    """The address and the clock of a sandbox that uvicorn serves on a loopback port."""
    clock = MovableClock()
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(clock=clock), log_level="error", timeout_graceful_shutdown=1)
    server = _Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    assert server.ready.wait(10)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", clock
    server.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture
async def client(running):
    base, clock = running
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield Client(session, base, clock)


@pytest.fixture
def account():
    return new_account()


@pytest.fixture
def did():
    return new_account("bluesky")
