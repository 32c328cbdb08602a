"""Health, metrics and the description of the API, over HTTP."""

import json

import pytest

from tests.system import open_system
from tests.web.support import refused, run_sql

pytestmark = pytest.mark.anyio


async def test_live_when_asked_then_200_without_a_key(api):
    answer = await api.call("GET", "//health/live", key=None)
    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_ready_when_database_and_schema_are_there_then_200(api):
    answer = await api.call("GET", "//health/ready", key=None)
    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_ready_when_migrations_are_missing_then_503_naming_them(api):
    await run_sql(api.database, "UPDATE alembic_version SET version_num = '0000'")
    answer = await api.call("GET", "//health/ready", key=None)
    assert (answer.status, answer.body["status"], answer.body["found"]) == (503, "migrations missing", "0000")


async def test_metrics_when_switched_off_then_t1(dsn):
    async with open_system(dsn, metrics=False) as api:
        refused(await api.call("GET", "//metrics", key=None), 404, "Not found")


async def test_metrics_when_switched_on_then_requests_are_counted_by_route_template(dsn):
    async with open_system(dsn, metrics=True) as api:
        await api.call("GET", "/get-post/secretvalue")
        answer = await api.call("GET", "//metrics", key=None)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert "/api/v1/get-post/{group_id}" in answer.text
        assert "secretvalue" not in answer.text


async def test_openapi_when_read_then_json_of_version_3_1(api):
    answer = await api.call("GET", "//openapi.json", key=None)
    assert (answer.status, json.loads(answer.text)["openapi"]) == (200, "3.1.0")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_docs_when_read_then_a_page_that_names_the_routes(api):
    answer = await api.call("GET", "//docs", key=None)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for path in ("/create-post", "/get-post/", "/test-connection/"):
        assert path in answer.text
