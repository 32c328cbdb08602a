import logging
import shutil

import pytest
import structlog

from postpost.database.embedded import EmbeddedPostgres
from tests.cli.program import Program, new_home
from tests.conftest import FAST


@pytest.fixture(autouse=True)
def restore_logging():
    """Commands send the log to a stream that is gone after the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def program():
    """`postpost` on a migrated, empty database of this module's own, whose server stays while the module runs."""
    home = new_home()
    server = EmbeddedPostgres(home, options=FAST)
    dsn = server.start()
    environ = {"POSTPOST_HOME": str(home), "POSTPOST_DATABASE_URL": dsn, "POSTPOST_LOG_FORMAT": "json"}
    program = Program(environ)
    try:
        program.json("migrate")
        yield program
    finally:
        server.close()
        shutil.rmtree(home.parent, ignore_errors=True)


@pytest.fixture
def fresh():
    """`postpost` on a home where nothing is yet, with the embedded database."""
    home = new_home()
    yield Program({"POSTPOST_HOME": str(home), "POSTPOST_LOG_FORMAT": "json"})
    shutil.rmtree(home.parent, ignore_errors=True)
