"""GET /metrics: what the installation holds and has done, for Prometheus.

Read from the database at each request, so that every API process answers the same, and none of them counts.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from api.http import problem_types
from api.http.auth import build_forbidden
from api.http.dependencies import CallerDep, DatabaseDep
from api.http.openapi import documented
from api.http.routing import StrictQueryRoute
from models.scopes import Scope
from models.states import JobState
from models.store import counters, jobs
from models.store.counters import COUNTERS

router = APIRouter(tags=["health"], route_class=StrictQueryRoute)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
@documented(problem_types.INSUFFICIENT_SCOPE)
def show_metrics(caller: CallerDep, database: DatabaseDep) -> Response:
    """The numbers of the whole installation in Prometheus's text format."""
    if not caller.sees_all:
        raise build_forbidden(Scope.OBSERVE)
    with database.read() as session:
        snapshot = Snapshot(jobs.count_by_state(session), counters.read(session))
    # Not the process's own registry: that would speak of this process, and of Python.
    registry = CollectorRegistry()
    registry.register(snapshot)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class Snapshot:
    """Prometheus's collector of numbers that were read already."""

    def __init__(self, states: Mapping[JobState, int], counted: Mapping[str, float]) -> None:
        self._states = states
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        """Every metric, those that are 0 included."""
        gauge = GaugeMetricFamily("regbench_jobs", "Jobs in each state", labels=["state"])
        for state in JobState:
            gauge.add_metric([state], self._states[state])
        yield gauge
        for name, meaning in COUNTERS.items():
            # The package adds "_total" to the name.
            yield CounterMetricFamily(f"regbench_{name}", meaning, value=self._counted[name])
        info = GaugeMetricFamily(
            "regbench_info", "Always 1; the label is the running version", labels=["version"]
        )
        info.add_metric([version("regbench")], 1)
        yield info
