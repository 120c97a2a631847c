"""What this process measures of its requests, for Prometheus.

With several processes behind one address (`uvicorn --workers`), PROMETHEUS_MULTIPROC_DIR names an empty
folder through which they add up.
"""

import os

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector

UNMATCHED = "unmatched"
"""The route of requests that were refused before their route was known."""
ROUTE = "route"
"""Key in a request's state: the template of its path."""

_registry = CollectorRegistry()
REQUEST_SECONDS = Histogram(
    "regbench_http_request_seconds",
    "Seconds until a response begins, by method, route and status",
    ["method", "route", "status"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0),
    registry=_registry,
)
STREAMS = Gauge(
    "regbench_streams",
    "Clients that follow jobs in this process",
    registry=_registry,
    multiprocess_mode="livesum",
)
DATABASE_CONNECTIONS = Gauge(
    "regbench_database_connections",
    "Database connections of this process that are in use, of 15",
    registry=_registry,
    multiprocess_mode="livesum",
)
ProcessCollector(registry=_registry)


def get_registry() -> CollectorRegistry:
    """The registry with these metrics."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _registry
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # declares no types
    return registry
