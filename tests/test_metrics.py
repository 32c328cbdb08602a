import urllib.error
import urllib.request
from datetime import timedelta

import pytest

from postpost.metrics import Metrics
from postpost.posts.rules import PostStatus


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_request_when_answered_then_counted_by_template_method_and_status():
    metrics = Metrics()

    metrics.request_answered("/get-post/{post_group_id}", "GET", 200, timedelta(milliseconds=3))
    metrics.request_answered("/get-post/{post_group_id}", "GET", 200, timedelta(milliseconds=3))

    route = {"route": "/get-post/{post_group_id}", "method": "GET"}
    assert value(metrics, "postpost_http_requests_total", **route, status="200") == 2
    assert value(metrics, "postpost_http_request_duration_seconds_sum", **route) == 0.006


def test_request_when_nothing_matched_then_path_and_method_are_no_labels():
    metrics = Metrics()

    metrics.request_answered(None, "HACK", 404, timedelta())

    assert value(metrics, "postpost_http_requests_total", route="unmatched", method="other", status="404") == 1


def test_post_when_it_ended_then_counted_by_platform_and_outcome():
    metrics = Metrics()

    metrics.post_ended("mastodon", PostStatus.PUBLISHED)

    assert value(metrics, "postpost_platform_posts_total", platform="mastodon", outcome="published") == 1


def test_attempt_when_made_then_counted_by_platform():
    metrics = Metrics()

    metrics.publish_attempted("mastodon")

    assert value(metrics, "postpost_publish_attempts_total", platform="mastodon") == 1


@pytest.mark.parametrize(("lateness", "in_time"), [(0.25, 1), (0.26, 0), (-3.0, 1)])
def test_lateness_when_a_post_is_queued_then_the_promised_quarter_second_is_a_boundary(lateness: float, in_time: int):
    metrics = Metrics()

    metrics.dispatched(timedelta(seconds=lateness))

    assert value(metrics, "postpost_dispatch_lateness_seconds_bucket", le="0.25") == in_time


def test_lateness_when_a_clock_runs_ahead_then_the_sum_does_not_fall():
    metrics = Metrics()

    metrics.dispatched(timedelta(seconds=-3))

    assert value(metrics, "postpost_dispatch_lateness_seconds_sum") == 0


def test_queue_when_counted_then_its_depth():
    metrics = Metrics()

    metrics.queue_depth(7)

    assert value(metrics, "postpost_queue_depth") == 7


def test_metrics_when_there_are_two_then_they_share_nothing():
    first, second = Metrics(), Metrics()

    first.publish_attempted("mastodon")

    assert value(second, "postpost_publish_attempts_total", platform="mastodon") is None


def test_render_when_asked_then_the_text_format():
    metrics = Metrics()

    metrics.queue_depth(7)

    assert "\npostpost_queue_depth 7.0\n" in metrics.render().decode()


def test_serve_when_asked_then_the_metrics_until_closed():
    metrics = Metrics()
    server = metrics.serve("127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.port}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    with opener.open(address) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert b"postpost_queue_depth" in answer.read()
    server.close()
    with pytest.raises(urllib.error.URLError):
        opener.open(address)
