"""What an idle `postpost up` costs: memory and processor time, PostgreSQL aside."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import psutil

from bench.report import Figure

WATCHED_SECONDS = 20.0
MEGABYTE = 1024 * 1024


def _ours(process: psutil.Process) -> list[psutil.Process]:
    return [process, *[one for one in process.children(recursive=True) if one.name() != "postgres"]]


async def measure(home: Path) -> list[Figure]:
    """Start `postpost up --sandbox` in `home`, let it settle, and watch it doing nothing."""
    child = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("postpost")),
        *("up", "--sandbox", "--port", "0", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "POSTPOST_HOME": str(home)},  # noqa: TID251 -- handed on to the child
    )
    assert child.stdout is not None
    try:
        pid = msgspec.json.decode(await child.stdout.readline())["pid"]
        await asyncio.sleep(3)
        processes = _ours(psutil.Process(pid))
        before = sum(sum(process.cpu_times()[:2]) for process in processes)
        await asyncio.sleep(WATCHED_SECONDS)
        used = sum(sum(process.cpu_times()[:2]) for process in processes) - before
        memory = sum(process.memory_info().rss for process in processes) / MEGABYTE
    finally:
        child.terminate()
        await child.wait()
    cpu = used / WATCHED_SECONDS * 100
    return [
        Figure("idle `postpost up`, memory", memory, "MB", target="< 200 MB", met=memory < 200),
        Figure("idle `postpost up`, one core", cpu, "%", target="< 2 %", met=cpu < 2),
    ]
