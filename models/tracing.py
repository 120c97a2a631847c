"""Traces by OpenTelemetry, where REGBENCH_TRACING switches them on; otherwise we import nothing of it.

The request's context travels with the job's row (jobs.traceparent), not only with the dispatch message: any
message starts any job.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from models.settings import Settings

_tracers: list[Any] = []
"""This process's tracer, once tracing has been started."""
_MAX_EVENTS = 10_000
"""Of one span: an epoch is an event, and OpenTelemetry's default of 128 would drop the first ones."""


def start_tracing(service: str, settings: Settings) -> bool:
    """Export the spans of this process and of its forks; returns whether they are to be.

    OpenTelemetry's own variables, such as OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_SAMPLER, say where to
    and how many.
    """
    if settings.tracing == "off":
        return False
    from opentelemetry import trace
    from opentelemetry.instrumentation.celery import CeleryInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    exporter: Any
    if settings.tracing == "log":
        exporter = ConsoleSpanExporter(
            out=sys.stderr, formatter=lambda span: f"{span.to_json(indent=None)}\n"
        )
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    provider = TracerProvider(
        resource=Resource.create(
            {"service.name": f"regbench-{service}", "service.version": version("regbench")}
        ),
        span_limits=SpanLimits(max_events=_MAX_EVENTS),
    )
    provider.sampler = build_sampler(provider.sampler)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]  # it has no annotations
    _tracers.append(trace.get_tracer("regbench"))
    return True


def flush_traces() -> None:
    """Export what this process has not exported yet, within two seconds: it is about to end."""
    if _tracers:
        from opentelemetry import trace

        provider: Any = trace.get_tracer_provider()
        provider.force_flush(2_000)


def build_sampler(configured: Any) -> Any:
    """The configured sampler, except that polls of the database and sweeps begin no traces."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    class WithoutPolls(Sampler):
        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, kind: Any = None, *rest: Any, **options: Any
        ) -> SamplingResult:
            is_root = not trace.get_current_span(parent_context).get_span_context().is_valid
            if is_root and kind in (trace.SpanKind.CLIENT, trace.SpanKind.PRODUCER):
                return SamplingResult(Decision.DROP)
            result: SamplingResult = configured.should_sample(
                parent_context, trace_id, name, kind, *rest, **options
            )
            return result

        def get_description(self) -> str:
            return f"WithoutPolls({configured.get_description()})"

    return WithoutPolls()


def get_traceparent() -> str | None:
    """The current span as W3C's header `traceparent` writes it; None without one."""
    if not _tracers:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def trace_job(traceparent: str | None, attributes: dict[str, Any]) -> Iterator[None]:
    """A span of one attempt at a job, in the trace of the request that submitted the job."""
    if not _tracers:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {})
    message = trace.get_current_span().get_span_context()
    links: Sequence[Any] = [trace.Link(message)] if message.is_valid else []
    filled = {f"regbench.{name}": value for name, value in attributes.items() if value is not None}
    with _tracers[0].start_as_current_span("train", context=context, attributes=filled, links=links):
        yield


def set_span_attributes(attributes: dict[str, Any]) -> None:
    """Say in the current span what it is about."""
    if _tracers:
        from opentelemetry import trace

        filled = {f"regbench.{name}": value for name, value in attributes.items() if value is not None}
        trace.get_current_span().set_attributes(filled)


def add_trace_event(name: str, attributes: dict[str, Any], *, failed: bool = False) -> None:
    """Something that happened to the job whose span is the current one."""
    if not _tracers:
        return
    from opentelemetry import trace

    span = trace.get_current_span()
    span.add_event(name, {key: value for key, value in attributes.items() if value is not None})
    if failed:
        span.set_status(trace.StatusCode.ERROR, str(attributes.get("message", name)))
