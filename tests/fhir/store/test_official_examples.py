"""The official R4 examples come back with nothing changed but `id` and `meta`."""

import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from fhir import store
from fhir.documents import parse
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope

ARCHIVE = Path(__file__).parents[4] / "shared" / "data" / "r4-examples-675.tar.xz"
raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def examples() -> Iterator[tuple[str, bytes]]:
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None and member.name.endswith(".json"):
                yield Path(member.name).stem, file.read()


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"{ARCHIVE.name} is not beside this checkout")
def test_examples_come_back_byte_by_byte(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    sent = {}
    for _, text in examples():
        parsed = parse(text)
        [kept] = store.write_many(resources=[parsed], actor=alice_actor, now=now)
        sent[kept.reference] = text
    assert len(sent) == 675
    for reference, text in sent.items():
        kind, rid = reference.split("/")
        stored = raw(store.read(resource_type=kind, id=rid).content)
        original = raw(text)
        for members in (stored, original):
            members.pop("meta", None)
            members.pop("id", None)
        assert {k: bytes(v) for k, v in stored.items()} == {
            k: bytes(v) for k, v in original.items()
        }


def test_decimals_keep_their_digits(in_riverside: Scope, alice_actor: Actor, now: datetime) -> None:
    text = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":0.40},"component":[{"code":{"text":"y"},'
        b'"valueQuantity":{"value":1.00E+2}}]}'
    )
    kept = store.create(resource=text, resource_type="Observation", actor=alice_actor, now=now)
    content = store.read(resource_type="Observation", id=kept.id).content
    assert b'"valueQuantity":{"value":0.40}' in content
    assert b'"valueQuantity":{"value":1.00E+2}' in content
