"""A span for each step, where an OpenTelemetry collector is configured; nothing where none is.

Spans carry ids, kinds and numbers of attempts, never inputs or outputs. The libraries are loaded
on first use only. https://opentelemetry.io/docs/specs/otel/trace/api/
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.conf import settings

from workflows.models import Run
from workflows.state import Execute


@contextmanager
def step(run: Run, action: Execute, now: datetime) -> Iterator[None]:
    """Trace one attempt of a step."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    attributes = {
        "healthcloud.run_id": run.id,
        "healthcloud.workflow_id": run.slug,
        "healthcloud.workflow_version": run.number,
        "healthcloud.project_id": run.project_id,
        "healthcloud.step_id": action.step.id,
        "healthcloud.step_kind": action.step.kind,
        "healthcloud.attempt": action.attempt,
        "healthcloud.iteration": action.iteration,
    }
    with tracer.start_as_current_span(f"{run.slug}.{action.step.id}", attributes=attributes):
        yield


@lru_cache(maxsize=1)
def _tracer() -> Any:  # noqa: ANN401  # a library that is loaded only where it is used
    provider = _provider()
    return None if provider is None else provider.get_tracer("healthcloud.workflows")


@lru_cache(maxsize=1)
def _provider() -> Any:  # noqa: ANN401
    if not settings.OTEL_TRACES_ENDPOINT:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "healthcloud"}))
    exporter = OTLPSpanExporter(endpoint=settings.OTEL_TRACES_ENDPOINT)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
