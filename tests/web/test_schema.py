"""The description of the API against the API: Schemathesis over HTTP, seeded and bounded."""

import json

import anyio.from_thread
import asyncpg
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from postpost import __version__
from postpost.connections import routes as connection_routes
from postpost.http.openapi import build
from postpost.posts import routes as post_routes
from postpost.web.system import API
from tests.system import open_system

DOCUMENT = build((*post_routes.DOCS, *connection_routes.DOCS), version=__version__, server=API)
CONFIG = schemathesis.Config.from_dict({"generation": {"allow-x00": False}})
"""U+0000 is refused wherever it stands in a body (T4), which JSON Schema has no word for."""

SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)


@pytest.fixture(scope="module")
def served(postgres):
    """The API on a thread of its own, because Schemathesis waits for each answer."""
    with anyio.from_thread.start_blocking_portal() as portal:
        portal.call(_copy, postgres)
        dsn = postgres.replace("/postpost?", "/test_schema?", 1)
        with portal.wrap_async_context_manager(open_system(dsn)) as system:
            portal.call(system.connect, "twitter-123456", "bluesky-did:plc:abc")
            yield system


async def _copy(postgres):
    admin = await asyncpg.connect(postgres.replace("/postpost?", "/postgres?", 1))
    await admin.execute("CREATE DATABASE test_schema TEMPLATE postpost")
    await admin.close()


@pytest.fixture(scope="module")
def session():
    with requests.Session() as session:
        yield session


# What JSON Schema cannot say of a request that is right: which accounts are connected, that a time is not past.
NEEDS_MORE_THAN_ITS_FORM = {"POST /create-post", "PUT /update-post/{postGroupId}", "POST /validate-post"}

# What the contract bears although the description asks for better: page, limit and sortOrder never cause an error,
# facts of a wrong type count as unknown, and what is not literally true is false.
BEARS_MORE_THAN_IT_ASKS_FOR = {"GET /list-posts", "POST /validate-post", "POST /retry-post/{postGroupId}"}


def left_out(operation):
    """Return the checks that do not hold for an operation, for the reasons given above."""
    checks = [positive_data_acceptance] if operation in NEEDS_MORE_THAN_ITS_FORM else []
    return [*checks, negative_data_rejection] if operation in BEARS_MORE_THAN_IT_ASKS_FOR else checks


def test_document_when_checked_then_it_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"] == "3.1.0"
    SCHEMA.validate()


def test_document_when_fetched_then_it_is_the_one_that_is_checked_here(served, session):
    assert session.get(f"{served.url}/openapi.json").json() == json.loads(json.dumps(DOCUMENT))


@SCHEMA.parametrize()
@settings(max_examples=15, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_operation_when_called_in_many_ways_then_it_keeps_to_its_description(case, served, session):
    case.call_and_validate(
        base_url=f"{served.url}{API}",
        session=session,
        headers={"x-api-key": served.key},
        excluded_checks=left_out(case.operation.label),
    )
