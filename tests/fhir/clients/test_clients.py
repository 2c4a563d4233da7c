"""fhirpy and fhirclient, as their users write it, against the server as it runs."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fhirclient import client as smart
from fhirclient.models.humanname import HumanName
from fhirclient.models.patient import Patient
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

from tests.fhir.clients.conftest import Served


def test_fhirpy_creates_reads_searches_pages_updates_and_deletes(served: Served) -> None:
    client = SyncFHIRClient(served.url, authorization=served.authorization)
    for number in range(7):
        patient = client.resource("Patient", name=[{"family": f"Abt{number}"}], active=True)
        patient.save()
        assert patient.id
    found = client.resources("Patient").search(family="Abt").limit(3).fetch_all()
    assert sorted(p["name"][0]["family"] for p in found) == [f"Abt{n}" for n in range(7)]
    first = client.reference("Patient", found[0].id).to_resource()
    first["active"] = False
    first.save()
    assert client.resources("Patient").search(active="false").first().id == first.id
    first.patch(gender="female")
    assert client.reference("Patient", first.id).to_resource()["gender"] == "female"
    one, created = (
        client.resources("Patient")
        .search(family="Nobody")
        .get_or_create(client.resource("Patient", name=[{"family": "Nobody"}]))
    )
    assert created is True
    one.delete()
    with pytest.raises(ResourceNotFound):
        client.reference("Patient", one.id).to_resource()
    with pytest.raises(OperationOutcome):
        client.resource("Patient", gender="nonsense").save()


def test_fhirpy_works_at_once(served: Served) -> None:
    async def work() -> tuple[int, int]:
        client = AsyncFHIRClient(served.url, authorization=served.authorization)
        observations = [
            client.resource("Observation", status="final", code={"text": f"t{n}"})
            for n in range(12)
        ]
        await asyncio.gather(*(observation.save() for observation in observations))
        found = await client.resources("Observation").limit(5).fetch_all()
        await asyncio.gather(*(observation.delete() for observation in found))
        return len(found), await client.resources("Observation").count()

    assert asyncio.run(work()) == (12, 0)


class _KeyServer(smart.FHIRClient):
    """fhirclient with an API key instead of a SMART launch."""

    def __init__(self, served: Served) -> None:
        super().__init__(settings={"app_id": "tests", "api_base": f"{served.url}/"})
        self.server.session.headers["Authorization"] = served.authorization
        self.prepare()


def test_fhirclient_creates_reads_searches_pages_updates_and_deletes(served: Served) -> None:
    client = _KeyServer(served)
    for number in range(5):
        patient = Patient()
        patient.name = [HumanName({"family": f"Abt{number}"})]
        answer: Any = patient.create(client.server)
        assert answer["id"]
    found = list(
        Patient.where({"family": "Abt", "_count": "2"}).perform_resources_iter(client.server)
    )
    assert sorted(p.name[0].family for p in found) == [f"Abt{n}" for n in range(5)]
    one = Patient.read(found[0].id, client.server)
    one.gender = "female"
    one.update(client.server)
    again = Patient.read(one.id, client.server)
    assert (again.gender, again.meta.versionId) == ("female", "2")
    again.delete(client.server)
    left = list(Patient.where({"family": "Abt"}).perform_resources_iter(client.server))
    assert len(left) == 4


def test_sixteen_clients_at_once_make_one_patient_and_lose_no_update(served: Served) -> None:
    body = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "7"}]}
    headers = {"Authorization": served.authorization, "Content-Type": "application/fhir+json"}
    barrier = threading.Barrier(16)

    def send(method: str, path: str, json: object, **more: str) -> httpx.Response:
        barrier.wait(timeout=30)
        with httpx.Client(trust_env=False, headers=headers, timeout=30) as client:
            return client.request(method, f"{served.url}/{path}", json=json, headers=more)

    with ThreadPoolExecutor(16) as pool:
        condition = {"If-None-Exist": "identifier=urn:mrn|7"}
        created = [
            future.result()
            for future in [
                pool.submit(send, "POST", "Patient", body, **condition) for _ in range(16)
            ]
        ]
        assert Counter(answer.status_code for answer in created) == {201: 1, 200: 15}
        [rid] = {answer.json()["id"] for answer in created}
        same = {**body, "id": rid}
        updated = [
            future.result()
            for future in [
                pool.submit(send, "PUT", f"Patient/{rid}", same, **{"If-Match": 'W/"1"'})
                for _ in range(16)
            ]
        ]
    assert Counter(answer.status_code for answer in updated) == {200: 1, 412: 15}
