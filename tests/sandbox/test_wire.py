from datetime import datetime, timedelta, timezone

import pytest

from postpost.sandbox.wire import Reply, Route, Routes, millis, pick


def handler(_call):
    return Reply(204)


ROUTES = Routes(
    Route("GET", "/posts", handler),
    Route("POST", "/posts", handler),
    Route("GET", "/posts/{id}", handler),
    Route("GET", "/posts/me", handler),
)


@pytest.mark.parametrize(
    ("path", "methods", "params"),
    [
        ("/posts", {"GET", "POST"}, {}),
        ("/posts/me", {"GET"}, {}),
        ("/posts/urn%3Ali%3A1", {"GET"}, {"id": "urn:li:1"}),
        ("/posts/a%2Fb", {"GET"}, {"id": "a/b"}),
        ("/p%6Fsts/1", {"GET"}, {"id": "1"}),
        ("/posts/", set(), {}),
        ("/posts/1/2", set(), {}),
        ("/", set(), {}),
    ],
)
def test_routes_when_a_path_is_looked_up_then_its_methods_and_placeholders(path, methods, params):
    found, values = ROUTES.find(path)
    assert (set(found), values) == (methods, params)


def test_reply_when_headers_are_added_then_the_earlier_ones_stay():
    reply = Reply(200, headers={"a": "1"}).with_headers({"b": "2"})
    assert (reply.status, reply.headers) == (200, {"a": "1", "b": "2"})


def test_pick_when_the_value_is_missing_then_the_default():
    assert pick({}, "limit", 7, range(1, 10)) == 7


@pytest.mark.parametrize("text", ["0", "10", "x", ""])
def test_pick_when_the_value_is_wrong_then_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        pick({"limit": text}, "limit", 7, range(1, 10))


def test_millis_when_the_time_is_elsewhere_then_it_is_written_in_utc():
    moment = datetime(2026, 1, 1, 1, 0, 0, 5000, timezone(timedelta(hours=1)))
    assert millis(moment) == "2026-01-01T00:00:00.005Z"
