"""Workers as processes that can be killed, beside an API and a sandbox that stay."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.cli.program import Program, Running
from tests.system import System, open_system

TIMES = {
    "POSTPOST_PLATFORM_TIMEOUT_SECONDS": "1",
    "POSTPOST_RETRY_BASE_SECONDS": "0.05",
    "POSTPOST_LOG_FORMAT": "json",
    "POSTPOST_LOG_LEVEL": "error",
}
"""Short, so that what a dead worker held is free soon. The log is not read and must not fill its pipe."""


@dataclass
class Outside:
    """A system whose workers are processes of their own."""

    system: System
    workers: list[Running] = field(default_factory=list)

    async def start_worker(self) -> Running:
        """Start `postpost work` and wait until it works."""
        settings = self.system.services.settings
        program = Program(
            {
                **TIMES,
                "POSTPOST_HOME": str(settings.home),
                "POSTPOST_DATABASE_URL": settings.database_url,
                "POSTPOST_SANDBOX_URL": self.system.sandbox_url,
            }
        )
        worker = await asyncio.to_thread(program.start, "work")
        self.workers.append(worker)
        return worker

    async def stop(self, worker: Running) -> int:
        """Ask a worker to end and return its exit code."""
        code, _, errors = await asyncio.to_thread(worker.stop)
        self.workers.remove(worker)
        assert code == 0, errors
        return code

    def kill(self, worker: Running) -> None:
        """Kill a worker, which gets no chance to do anything about it."""
        worker.process.kill()
        worker.process.communicate(timeout=10)
        self.workers.remove(worker)


@asynccontextmanager
async def open_outside(dsn):
    async with open_system(dsn, sandbox=True, database_pool_size=12) as system:
        outside = Outside(system)
        try:
            yield outside
        finally:
            for worker in list(outside.workers):
                outside.kill(worker)
