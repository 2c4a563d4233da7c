"""Reindexing goes on after every crash, loses to nobody and repairs what an upgrade left."""

import json
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from fhir import jobs, store
from fhir.jobs.service import _step
from fhir.parameters import known, reindexing
from fhir.search import search
from fhir.sql import fetch
from healthcloud.actors import Actor
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.api.test_direct import ask, introduce
from tests.fhir.parameters.conftest import key_of
from tests.fhir.parameters.test_custom_parameters import parameter, patient
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]
ClientFor = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What is undone with the test is not remembered after it."""
    known._known.clear()
    yield
    known._known.clear()


def write(actor: Actor, *resources: dict[str, Any]) -> None:
    store.write_many(resources=resources, actor=actor, now=timezone.now())


def ids(query: str = "eye-color=blue", resource_type: str = "Patient") -> list[str]:
    result = search(resource_type=resource_type, query=query, now=timezone.now(), strict=True)
    return sorted(entry.id for entry in result.entries)


class Killed(RuntimeError):
    """The worker is gone."""


@pytest.mark.usefixtures("empty_ledger")
def test_a_killed_job_goes_on_from_its_last_chunk(
    riverside_scope: Scope, alice_actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "CHUNK", 2)
    with tenant_scope(riverside_scope):
        write(alice_actor, *(patient(f"p{n}", "blue") for n in range(5)), parameter())
    chunks: list[int] = []
    index = reindexing._index

    def killed(project: int, name: str, keys: list[int], parameters: known.Known) -> int:
        chunks.append(len(keys))
        if len(chunks) == 2:
            raise Killed
        return index(project, name, keys, parameters)

    monkeypatch.setattr(reindexing, "_index", killed)
    with pytest.raises(Killed):
        run_until_idle()
    with tenant_scope(riverside_scope), pytest.raises(known.UnknownSearchParameter):
        ids()
    DueWork.objects.filter(state="running").update(state="ready", lease_until=None)
    run_until_idle()
    assert chunks == [2, 2, 2, 1]
    with tenant_scope(riverside_scope):
        assert ids() == ["p0", "p1", "p2", "p3", "p4"]


@pytest.mark.usefixtures("empty_ledger")
def test_a_job_that_was_overtaken_by_a_change_makes_nothing_ready(
    riverside_scope: Scope, alice_actor: Actor
) -> None:
    with tenant_scope(riverside_scope):
        write(alice_actor, patient("p", "blue", gender="female"), parameter())
        first = jobs.table.find(known.current().by_type["Patient"].waiting["eye-color"])
        assert first is not None
        write(alice_actor, parameter(expression="Patient.gender"))
    run_until_idle()
    with tenant_scope(riverside_scope):
        done = jobs.require(first.id)
        assert done.result == reindexing._result(0)
        assert (ids("eye-color=blue"), ids("eye-color=female")) == ([], ["p"])


@pytest.mark.django_db
def test_a_process_that_does_not_know_the_parameter_still_indexes_by_it(
    in_riverside: Scope, alice_actor: Actor
) -> None:
    write(alice_actor, parameter())
    known._known.clear()  # as in another process
    write(alice_actor, patient("p", "blue"))
    store.create(
        resource=patient("q", "blue"),
        resource_type="Patient",
        id="q",
        actor=alice_actor,
        now=timezone.now(),
    )
    reindexing.table.make_ready(
        in_riverside.project_number or 0,
        [entry.stamp for entry in reindexing.table.all_of(in_riverside.project_number or 0)],
    )
    known._known.clear()
    assert ids() == ["p", "q"]
    assert ids("eye-color:missing=false") == ["p", "q"]


@pytest.mark.django_db
def test_a_conflict_is_still_one_where_the_process_knows_too_little(
    in_riverside: Scope, alice_actor: Actor
) -> None:
    write(alice_actor, parameter(), patient("p", "blue"))
    known._known.clear()
    with pytest.raises(store.ResourceMismatch, match="exists already"):
        store.create(
            resource=patient("p", "blue"),
            resource_type="Patient",
            id="p",
            actor=alice_actor,
            now=timezone.now(),
        )


def test_a_direct_create_with_old_knowledge_goes_the_whole_way_and_is_indexed(
    live_tenant: Scope, alice_actor: Actor
) -> None:
    secret = key_of(live_tenant)
    introduce(secret)
    with tenant_scope(live_tenant):
        write(alice_actor, parameter())
    known._known.clear()
    body = {k: v for k, v in patient("x", "blue").items() if k != "id"}
    assert ask(secret, "/v1/fhir/Patient", body) is None
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    answer = client.post("/v1/fhir/Patient", json.dumps(body), content_type="application/fhir+json")
    assert answer.status_code == 201
    direct = ask(secret, "/v1/fhir/Patient", body)  # now this process knows
    assert direct is not None
    assert direct.status == 201
    with tenant_scope(live_tenant):
        project = live_tenant.project_number or 0
        stamps = [entry.stamp for entry in reindexing.table.all_of(project)]
        reindexing.table.make_ready(project, stamps)
        known._known.clear()
        assert ids() == sorted([answer.json()["id"], direct.json["id"]])


def test_writers_and_reindexing_at_once_leave_every_row_right(
    live_tenant: Scope, alice_actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindexing, "CHUNK", 3)
    with tenant_scope(live_tenant):
        write(alice_actor, *(patient(f"p{n}", "blue") for n in range(12)))
    with tenant_scope(live_tenant):
        write(alice_actor, parameter())
        job = jobs.require(known.current().by_type["Patient"].waiting["eye-color"])
    stop = threading.Event()
    errors: list[Exception] = []

    def recolor(color: str) -> None:
        try:
            for n in [*range(12), *range(11, -1, -1)]:
                with tenant_scope(live_tenant):
                    write(alice_actor, patient(f"p{n}", color))
        except Exception as error:
            errors.append(error)
        finally:
            stop.set()
            connection.close()

    writer = threading.Thread(target=recolor, args=("green",))
    writer.start()
    work = type("Work", (), {"scope": live_tenant, "ref": job.id})()
    while _step(work):
        pass
    writer.join(timeout=60)
    assert (stop.is_set(), errors) == (True, [])
    with tenant_scope(live_tenant):
        assert (ids("eye-color=blue"), len(ids("eye-color=green"))) == ([], 12)
        assert fetch("SELECT count(*) FROM fhir_string WHERE folded = 'nobody'") == [(0,)]


def test_the_job_waits_for_a_writer_that_began_before_the_parameter(
    live_tenant: Scope, alice_actor: Actor
) -> None:
    wrote, end = threading.Event(), threading.Event()

    def slow() -> None:
        with tenant_scope(live_tenant):
            write(alice_actor, patient("slow", "blue"))
            wrote.set()
            end.wait(timeout=30)
        connection.close()

    writer = threading.Thread(target=slow)
    writer.start()
    assert wrote.wait(timeout=30)
    with tenant_scope(live_tenant):
        write(alice_actor, parameter())
        job = jobs.require(known.current().by_type["Patient"].waiting["eye-color"])
    work = type("Work", (), {"scope": live_tenant, "ref": job.id})()
    for _ in range(3):
        assert _step(work)
    with tenant_scope(live_tenant):
        assert jobs.require(job.id).progress == "waiting for earlier writers"
    end.set()
    writer.join(timeout=30)
    while _step(work):
        pass
    with tenant_scope(live_tenant):
        assert ids() == ["slow"]


# --- the operation and the command --------------------------------------------------------------


def spoil(rid: str) -> None:
    """Leave a row as an older release would have written it."""
    fetch("UPDATE fhir_resource SET tokens = '{}' WHERE rid = %s::text", (rid,))
    fetch("UPDATE fhir_quantity SET canonical_low = 'NaN', unit = 1")
    fetch("DELETE FROM fhir_string")


@pytest.mark.django_db
@pytest.mark.usefixtures("empty_ledger")
@pytest.mark.parametrize(
    ("address", "repaired"),
    [
        ("$reindex", ["a", "b"]),
        ("$reindex?type=Patient,Observation", ["a", "b"]),
        ("Patient/$reindex", ["a", "b"]),
        ("Patient/a/$reindex", ["a"]),
        ("Observation/$reindex", []),
    ],
)
def test_reindexing_repairs_the_system_a_type_or_one_resource(
    riverside_scope: Scope,
    alice_actor: Actor,
    alice_client: APIClient,
    address: str,
    repaired: list[str],
) -> None:
    with tenant_scope(riverside_scope):
        named = [patient(rid, "blue", gender="male", name=[{"family": "Ek"}]) for rid in "ab"]
        write(alice_actor, *named)
        for rid in "ab":
            spoil(rid)
        assert (ids("gender=male"), ids("name=ek")) == ([], [])
    answer = alice_client.post(f"/v1/fhir/{address}")
    assert answer.status_code == 202, answer.content
    location = answer["Content-Location"].partition("/v1/")[2]
    assert alice_client.get(f"/v1/{location}").status_code == 202
    run_until_idle()
    assert alice_client.get(f"/v1/{location}").json() == reindexing._result(len(repaired))
    with tenant_scope(riverside_scope):
        assert (ids("gender=male"), ids("name=ek")) == (repaired, repaired)


@pytest.mark.django_db
@pytest.mark.usefixtures("empty_ledger")
def test_an_upgraded_tenant_becomes_right_by_the_command(
    riverside_scope: Scope, alice_actor: Actor
) -> None:
    height = {
        "resourceType": "Observation",
        "id": "height",
        "status": "final",
        "code": {"text": "height"},
        "valueQuantity": {"value": 170.2, "system": "http://unitsofmeasure.org", "code": "cm"},
    }
    query = "value-quantity=1.702|http://unitsofmeasure.org|m"
    with tenant_scope(riverside_scope):
        write(alice_actor, height)
        spoil("height")
        assert ids(query, "Observation") == []
    out = StringIO()
    project = riverside_scope.project_id
    call_command("reindex", organization="org_riverside", project=project, stdout=out)
    assert len(out.getvalue().splitlines()) == 2
    run_until_idle()
    with tenant_scope(riverside_scope):
        assert ids(query, "Observation") == ["height"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments", [{"organization": "org_nobody"}, {"type": ["Pazient"]}, {"project": "proj_none"}]
)
def test_the_command_refuses_what_names_nothing(arguments: dict[str, Any]) -> None:
    with pytest.raises(CommandError):
        call_command("reindex", **arguments)


@pytest.mark.django_db
def test_only_who_may_write_may_reindex(client_for: ClientFor, charlie_client: APIClient) -> None:
    reader = client_for(scopes=("fhir:read",))
    assert reader.post("/v1/fhir/$reindex").status_code == 403
    assert charlie_client.post("/v1/fhir/Patient/ann/$reindex").status_code == 404
    assert charlie_client.post("/v1/fhir/$reindex?type=Pazient").status_code == 400
