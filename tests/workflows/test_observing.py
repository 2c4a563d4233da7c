"""What is seen of a run from outside: spans for a collector, and old runs that go."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope
from tests.healthcloud.receiver import Receiver, running_receiver
from tests.workflows.conftest import Runner, definition
from workflows import housekeeping, tracing
from workflows.models import Run, StepRun, StoredValue

SECRET = "a patient's own words"


@pytest.fixture
def collector(settings: Any) -> Iterator[Receiver]:
    """An OpenTelemetry collector to which this process sends its spans."""
    with running_receiver() as receiver:
        settings.OTEL_TRACES_ENDPOINT = f"{receiver.url}/v1/traces"
        _forget()
        yield receiver
        provider = tracing._provider()
        if provider is not None:
            provider.shutdown()
        _forget()


def _forget() -> None:
    tracing._provider.cache_clear()
    tracing._tracer.cache_clear()


def test_each_attempt_of_a_step_is_a_span_without_its_data(
    collector: Receiver, run_workflow: Runner
) -> None:
    run = run_workflow(
        definition(
            {"id": "tell", "kind": "emit", "with": {"type": "custom.told", "payload": {}}},
            {"id": "read", "kind": "fhir_read", "with": {"reference": f"Patient/{SECRET}"}},
        ),
        {"words": SECRET},
    )
    assert run.status == "failed"
    provider = tracing._provider()
    assert provider is not None
    assert provider.force_flush(5000)
    (request,) = collector.received
    sent = ExportTraceServiceRequest.FromString(request.body)
    spans = [
        span
        for resource in sent.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [span.name for span in spans] == ["flow.tell", "flow.read"]
    for span, kind in zip(spans, ["emit", "fhir_read"], strict=True):
        facts = {item.key: item.value for item in span.attributes}
        assert facts["healthcloud.run_id"].string_value == run.id
        assert facts["healthcloud.step_kind"].string_value == kind
        assert facts["healthcloud.attempt"].int_value == 1
        assert span.end_time_unix_nano > span.start_time_unix_nano
    assert SECRET.encode() not in request.body


def test_runs_that_ended_long_ago_go_in_chunks_with_all_they_kept(
    in_riverside: Scope,
    run_workflow: Runner,
    alice_actor: Actor,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "CHUNK", 2)
    old = run_workflow(definition({"id": "a", "kind": "transform", "with": {"t": "x" * 300_000}}))
    template = {field.attname: getattr(old, field.attname) for field in Run._meta.concrete_fields}
    for number in range(4):
        Run.objects.create(**{**template, "id": f"run_old{number}"})
    waiting = {**template, "id": "run_waiting", "status": "waiting", "finished_at": None}
    Run.objects.create(**waiting)
    Run.objects.exclude(id="run_waiting").update(finished_at=now - timedelta(days=400))
    Run.objects.create(**{**template, "id": "run_recent", "finished_at": now})
    before = now - timedelta(days=365)
    assert StoredValue.objects.count() == 1
    counts = [housekeeping.delete_runs(in_riverside, before) for _ in range(4)]
    assert counts == [2, 2, 1, 0]
    assert sorted(Run.objects.values_list("id", flat=True)) == ["run_recent", "run_waiting"]
    assert (StepRun.objects.count(), StoredValue.objects.count()) == (0, 0)
