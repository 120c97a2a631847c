"""GET /metrics: what the installation holds and has done, for Prometheus.

Read from the database at each request, so that every API process answers the same; what a process measures of
its own requests follows (api/http/request_metrics.py).
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from sqlalchemy.pool import QueuePool

from api.health import OK, ReadinessCheck
from api.http import problem_types
from api.http.auth import build_forbidden
from api.http.dependencies import ArtifactsDep, CallerDep, DatabaseDep
from api.http.openapi import documented
from api.http.request_metrics import DATABASE_CONNECTIONS, STREAMS, get_registry
from api.http.routing import StrictQueryRoute
from models.scopes import Scope
from models.states import JobState
from models.store import counters, jobs, queue
from models.store.counters import COUNTERS, LABELS
from models.store.database import Database
from models.store.webhooks import count_backlog
from models.store.workers import LiveWorkers, count_live_workers

router = APIRouter(tags=["health"], route_class=StrictQueryRoute)
_MANY_JOBS = 100_000
"""Fewer are counted in 15 ms."""


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
@documented(problem_types.INSUFFICIENT_SCOPE)
async def show_metrics(
    request: Request, caller: CallerDep, database: DatabaseDep, artifacts: ArtifactsDep
) -> Response:
    """The numbers of the whole installation, and of this process, in Prometheus's text format."""
    if not caller.sees_all:
        raise build_forbidden(Scope.OBSERVE)

    state_counts: StateCounts = request.app.state.state_counts
    states = await state_counts.get(database)

    def read() -> Snapshot:
        with database.read() as session:
            return Snapshot(
                states,
                counters.read(session),
                queue.get_oldest_queued_seconds(session),
                count_live_workers(session),
                count_backlog(session),
                artifacts.get_free_bytes(),
            )

    snapshot = await run_in_threadpool(read)
    readiness_check: ReadinessCheck = request.app.state.readiness_check
    snapshot.checks = await readiness_check.get_checks()
    STREAMS.set(len(request.app.state.job_updates))
    pool = database.engine.pool
    DATABASE_CONNECTIONS.set(pool.checkedout() if isinstance(pool, QueuePool) else 0)
    # Read at each request, so not in the registry of what the process has counted.
    registry = CollectorRegistry()
    registry.register(snapshot)
    text = generate_latest(registry) + generate_latest(get_registry())
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


class StateCounts:
    """How many jobs are in each state; only the first request waits for them, as a million take 150 ms.

    Of many jobs the counts are those of the request before. Another hundred times as long as they took passes
    before they are counted again.
    """

    def __init__(self) -> None:
        self._counts: Mapping[JobState, int] = {}
        self._expires_at = 0.0
        self._refresh: asyncio.Task[None] | None = None

    async def get(self, database: Database) -> Mapping[JobState, int]:
        """The counts: of few jobs as they are now."""
        if sum(self._counts.values()) < _MANY_JOBS:
            await self._count(database)
        elif time.monotonic() >= self._expires_at and (self._refresh is None or self._refresh.done()):
            self._refresh = asyncio.create_task(self._count(database))
        return self._counts

    async def _count(self, database: Database) -> None:
        def read() -> Mapping[JobState, int]:
            with database.read() as session:
                return jobs.count_by_state(session)

        started = time.monotonic()
        self._counts = await run_in_threadpool(read)
        self._expires_at = started + 100 * (time.monotonic() - started)


@dataclass(eq=False)
class Snapshot:
    """Prometheus's collector of numbers that were read already."""

    states: Mapping[JobState, int]
    counted: Mapping[str, float]
    oldest_queued_seconds: float = 0.0
    live: LiveWorkers = field(default_factory=lambda: LiveWorkers(0, 0))
    webhook_backlog: int = 0
    artifacts_free_bytes: int | None = 0
    """None: they are in an object store."""
    checks: Mapping[str, str] = field(
        default_factory=lambda: dict.fromkeys(("database", "migrations", "broker", "worker"), OK)
    )

    def collect(self) -> Iterable[Metric]:
        """Every metric, those that are 0 included."""
        yield _build_gauge("jobs", "Jobs in each state", self.states, label="state")
        ready = {check: float(outcome == OK) for check, outcome in self.checks.items()}
        yield _build_gauge("ready", "1 where /readyz finds nothing wrong with a part", ready, label="check")
        for name, meaning, value in (
            (
                "oldest_queued_seconds",
                "Age of the job that has been queued longest",
                self.oldest_queued_seconds,
            ),
            ("workers", "Workers that were seen within a minute", self.live.workers),
            ("worker_processes", "Their training processes", self.live.processes),
            ("webhook_backlog", "Webhook messages that have not arrived yet", self.webhook_backlog),
        ):
            yield GaugeMetricFamily(f"regbench_{name}", meaning, value=value)
        if self.artifacts_free_bytes is not None:
            meaning = "Free space on the disk of models and checkpoints, where they are in a folder"
            yield GaugeMetricFamily("regbench_artifacts_free_bytes", meaning, value=self.artifacts_free_bytes)
        for name, meaning in COUNTERS.items():
            yield self._build_counter(name, meaning)
        yield _build_gauge(
            "info", "Always 1; the label is the running version", {version("regbench"): 1}, label="version"
        )

    def _build_counter(self, name: str, meaning: str) -> Metric:
        # The package adds "_total" to the name.
        if name not in LABELS:
            return CounterMetricFamily(f"regbench_{name}", meaning, value=self.counted[name])
        label, always = LABELS[name]
        counter = CounterMetricFamily(f"regbench_{name}", meaning, labels=[label])
        values = {f"{name}:{always}": 0.0} | dict(self.counted)
        for key, value in values.items():
            if key.startswith(f"{name}:"):
                counter.add_metric([key.removeprefix(f"{name}:")], value)
        return counter


def _build_gauge(name: str, meaning: str, values: Mapping[Any, float], *, label: str) -> Metric:
    gauge = GaugeMetricFamily(f"regbench_{name}", meaning, labels=[label])
    for text, value in values.items():
        gauge.add_metric([str(text)], value)
    return gauge
