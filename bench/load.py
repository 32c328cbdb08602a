"""A load generator light enough not to be what is measured: raw HTTP/1.1 over kept connections."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a run achieved: requests a second, and latencies in milliseconds."""

    per_second: float
    median_ms: float
    p99_ms: float


class _Client(asyncio.Protocol):
    def __init__(self, next_request: Callable[[], bytes | None], latencies: list[float]) -> None:
        self._next = next_request
        self._latencies = latencies
        self._buffer = bytearray()
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._next()
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._buffer[:head_end]).lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at : head.find(b"\r", at) if head.find(b"\r", at) > 0 else None])
        if len(self._buffer) < head_end + 4 + length:
            return
        if not head.startswith(b"http/1.1 200"):
            if not self.done.done():
                self.done.set_exception(RuntimeError(bytes(self._buffer).decode("utf-8", "replace")[:500]))
            self._transport.close()
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._buffer.clear()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def run_load(port: int, make_request: Callable[[int], bytes], *, connections: int, seconds: float) -> Load:
    """Send requests over `connections` connections for `seconds`; fails on any answer but 200."""
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds
    count = 0

    def next_request() -> bytes | None:
        nonlocal count
        if time.perf_counter() >= deadline:
            return None
        count += 1
        return make_request(count)

    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    clients = [
        (await loop.create_connection(lambda: _Client(next_request, latencies), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*[client.done for client in clients])
    took = time.perf_counter() - begun
    latencies.sort()
    return Load(
        len(latencies) / took,
        latencies[len(latencies) // 2] * 1000,
        latencies[min(int(len(latencies) * 0.99), len(latencies) - 1)] * 1000,
    )


def request_bytes(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return one HTTP request."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
