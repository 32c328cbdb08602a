"""The metrics: what is counted and measured, in a registry of their own, for Prometheus to read."""

import threading
from datetime import timedelta
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""`Content-Type` of what `Metrics.render` returns."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATENESS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""The promise is a quarter of a second (design.md, On time): a boundary of its own."""


class Metrics:
    """All metrics of one process.

    Labels are bounded: routes are templates, never paths, and platforms, methods and outcomes are closed sets. No
    label names an account.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "postpost_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "postpost_http_request_duration_seconds",
            "Time from a request's first byte to the end of its answer.",
            ("route", "method"),
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self._by_request: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._posts = Counter(
            "postpost_platform_posts",
            "Platform posts that ended, by how they ended.",
            ("platform", "outcome"),
            registry=self.registry,
        )
        self._attempts = Counter(
            "postpost_publish_attempts",
            "Runs of a platform's connector, repeated ones included.",
            ("platform",),
            registry=self.registry,
        )
        self._lateness = Histogram(
            "postpost_dispatch_lateness_seconds",
            "Time from when a platform post was due until it was queued.",
            buckets=_LATENESS_SECONDS,
            registry=self.registry,
        )
        self._queue_depth = Gauge(
            "postpost_queue_depth",
            "Publish jobs that wait or run, over all workers, when last counted.",
            registry=self.registry,
        )

    def request_answered(self, route: str | None, method: str, status: int, duration: timedelta) -> None:
        """Count an answered request. `route` is the template, `/get-post/{post_group_id}` say, None if none matched."""
        key = (route or "unmatched", method if method in _METHODS else "other", str(status))
        counters = self._by_request.get(key)
        if counters is None:  # to look the labels up costs as much as to count
            counters = self._requests.labels(*key), self._request_seconds.labels(*key[:2])
            self._by_request[key] = counters
        counters[0].inc()
        counters[1].observe(duration.total_seconds())

    def post_ended(self, platform: str, outcome: str) -> None:
        """Count a platform post that reached its last status, which is the outcome."""
        self._posts.labels(platform, outcome).inc()

    def publish_attempted(self, platform: str) -> None:
        """Count one run of a connector."""
        self._attempts.labels(platform).inc()

    def dispatched(self, lateness: timedelta) -> None:
        """Measure how late a platform post was queued; a clock that runs ahead counts as in time."""
        self._lateness.observe(max(lateness.total_seconds(), 0.0))

    def queue_depth(self, jobs: int) -> None:
        """Note how many publish jobs are in the queue."""
        self._queue_depth.set(jobs)

    def render(self) -> bytes:
        """Return everything in the text format that Prometheus reads."""
        return generate_latest(self.registry)

    def serve(self, host: str, port: int) -> "MetricsServer":
        """Answer `/metrics` on a port of its own, in a thread, for a worker. Raises OSError when the port is taken."""
        return MetricsServer(*start_http_server(port, host, self.registry))


class MetricsServer:
    """The small server that `Metrics.serve` starts; `port` is the one it has, also where it was asked for any."""

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def close(self) -> None:
        """Stop answering and wait until the thread has ended."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
