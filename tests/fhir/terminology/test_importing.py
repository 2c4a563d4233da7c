"""Releases of LOINC, SNOMED CT and RxNorm: read, written, searched in the tables."""

import zipfile
from datetime import datetime
from io import StringIO
from pathlib import Path

import orjson
import pytest
from django.core.management import CommandError, call_command

from fhir import terminology
from fhir.terminology.canonical import require_system
from fhir.terminology.errors import TooCostly
from fhir.terminology.importing import MissingFile, load, read_release
from fhir.terminology.system import Selection
from fhir.terminology.tables import find_tables
from fhir.terminology.value_sets import Composition
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.terminology.conftest import COLORS, color_system, rule, value_set

pytestmark = pytest.mark.django_db
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def write(folder: Path, name: str, *lines: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\r\n".join(lines) + "\r\n")


@pytest.fixture
def loinc(tmp_path: Path) -> Path:
    write(
        tmp_path,
        "LoincTable/Loinc.csv",
        '"LOINC_NUM","COMPONENT","SCALE_TYP","CLASS","STATUS","SHORTNAME","LONG_COMMON_NAME"',
        '"1-1","Temperature","Qn","BDYTMP","ACTIVE","Temp","Body temperature"',
        '"1-2","Temperature","Nom","BDYTMP","DEPRECATED","","Body temperature, old"',
    )
    write(
        tmp_path,
        "AccessoryFiles/ComponentHierarchyBySystem.csv",
        "PATH_TO_ROOT,SEQUENCE,IMMEDIATE_PARENT,CODE,CODE_TEXT",
        ",1,,LP1-0,Vital signs",
        "LP1-0,1,LP1-0,1-1,Temperature",
    )
    write(
        tmp_path,
        "AccessoryFiles/AnswerList.csv",
        "AnswerListId,AnswerStringId,DisplayText",
        "LL1-1,LA1-1,Positive",
        "LL1-1,LA2-2,Negative",
    )
    return tmp_path


@pytest.fixture
def snomed(tmp_path: Path) -> Path:
    head = "id\teffectiveTime\tactive\tmoduleId\t"
    write(
        tmp_path,
        "Snapshot/Terminology/sct2_Concept_Snapshot_INT_20240101.txt",
        head + "definitionStatusId",
        *(f"{code}\t20240101\t{active}\tm\td" for code, active in ((1, 1), (2, 1), (3, 0))),
    )
    write(
        tmp_path,
        "Snapshot/Terminology/sct2_Description_Snapshot-en_INT_20240101.txt",
        head + "conceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId",
        "11\t20240101\t1\tm\t1\ten\t900000000000003001\tHeart disease (disorder)\tc",
        "12\t20240101\t1\tm\t1\ten\t900000000000013009\tCardiac disorder\tc",
        "13\t20240101\t1\tm\t1\ten\t900000000000013009\tHeart disease\tc",
        '21\t20240101\t1\tm\t2\ten\t900000000000013009\tInfarct of the "heart"\tc',
    )
    write(
        tmp_path,
        "Snapshot/Refset/Language/der2_cRefset_LanguageSnapshot-en_INT_20240101.txt",
        head + "refsetId\treferencedComponentId\tacceptabilityId",
        "x\t20240101\t1\tm\t900\t13\t900000000000548007",
    )
    write(
        tmp_path,
        "Snapshot/Refset/Content/der2_Refset_SimpleSnapshot_INT_20240101.txt",
        head + "refsetId\treferencedComponentId",
        "y\t20240101\t1\tm\t700\t2",
    )
    write(
        tmp_path,
        "Snapshot/Terminology/sct2_Relationship_Snapshot_INT_20240101.txt",
        head + "sourceId\tdestinationId\trelationshipGroup\ttypeId",
        "r\t20240101\t1\tm\t2\t1\t0\t116680003",
        "s\t20240101\t0\tm\t3\t1\t0\t116680003",
    )
    return tmp_path


def take(
    kind: str, path: Path, version: str, scope: Scope, actor: Actor, now: datetime, source: str = ""
) -> None:
    release = read_release(kind, path, version)
    load(scope=scope, release=release, source=source or path.name, actor=actor, now=now)


def codes(resource: dict[str, object]) -> list[str]:
    return [code for _, code in Composition().members(resource)]


def test_loinc(loinc: Path, riverside_scope: Scope, alice_actor: Actor, now: datetime) -> None:
    take("loinc", loinc, "2.78", riverside_scope, alice_actor, now)
    with tenant_scope(riverside_scope):
        system = require_system(LOINC)
        found = system.find("1-1")
        assert found is not None
        assert (system.version, found.display, found.parents) == (
            "2.78",
            "Body temperature",
            ("LP1-0",),
        )
        nominal = value_set("v", {"system": LOINC, "filter": [rule("SCALE_TYP", "=", "Nom")]})
        assert codes(nominal) == ["1-2"]
        below = value_set("v", {"system": LOINC, "filter": [rule("concept", "is-a", "LP1-0")]})
        assert codes(below) == ["1-1", "LP1-0"]
        assert terminology.codes_in("http://loinc.org/vs/LL1-1") == {
            (LOINC, "LA1-1"),
            (LOINC, "LA2-2"),
        }


def test_snomed(snomed: Path, riverside_scope: Scope, alice_actor: Actor, now: datetime) -> None:
    take("snomed", snomed, "20240101", riverside_scope, alice_actor, now)
    with tenant_scope(riverside_scope):
        system = require_system(SNOMED, "http://snomed.info/sct/900000000000207008")
        names = {c.code: c.display for c in system.select(Selection(), offset=0, limit=9)}
        assert names == {"1": "Heart disease", "2": 'Infarct of the "heart"', "3": "3"}
        assert terminology.descendants(SNOMED, "1") == {"1", "2"}
        assert terminology.ancestors(SNOMED, "2") == {"1", "2"}
        for implied, expected in (
            ("?fhir_vs=isa/1", {"1", "2"}),
            ("?fhir_vs=refset/700", {"2"}),
            ("?fhir_vs", {"1", "2", "3"}),
        ):
            assert {code for _, code in terminology.codes_in(SNOMED + implied)} == expected
        words = Selection(words=("card", "dis"), active_only=True)
        assert [c.code for c in system.select(words, offset=0, limit=9)] == ["1"]
        with pytest.raises(TooCostly):
            system.descendants("1", limit=0)


def test_rxnorm(tmp_path: Path, riverside_scope: Scope, alice_actor: Actor, now: datetime) -> None:
    def name(code: str, kind: str, text: str, suppressed: str = "N") -> str:
        fields = [code, "ENG", "", "", "", "", "", "", "", "", "", "RXNORM", kind, code, text]
        return "|".join([*fields, "", suppressed, "", ""])

    write(tmp_path, "rrf/RXNCONSO.RRF", name("1", "IN", "Aspirin"), name("2", "SCD", "Aspirin 1"))
    write(tmp_path, "rrf/RXNREL.RRF", "1||CUI|CHD|2||CUI|isa||||||||")
    archive = tmp_path / "rxnorm.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in ("RXNCONSO.RRF", "RXNREL.RRF"):
            target.write(tmp_path / "rrf" / file, f"rrf/{file}")
    take("rxnorm", archive, "2026", riverside_scope, alice_actor, now)
    with tenant_scope(riverside_scope):
        assert terminology.ancestors(RXNORM, "2") == {"1", "2"}


FILTERS = [
    rule("concept", "is-a", "red"),
    rule("concept", "descendent-of", "red"),
    rule("concept", "is-not-a", "red"),
    rule("concept", "generalizes", "crimson"),
    rule("concept", "child-of", "color"),
    rule("concept", "descendent-leaf", "color"),
    rule("concept", "in", "blue, red"),
    rule("concept", "not-in", "blue,red"),
    rule("concept", "regex", "c.*"),
    rule("warmth", "=", "warm"),
    rule("warmth", "exists", "false"),
    rule("warmth", "not-in", "warm"),
    rule("parent", "=", "red"),
    rule("child", "=", "crimson"),
    rule("display", "=", "Old rose"),
    rule("inactive", "=", "true"),
    rule("notSelectable", "=", "false"),
]


def test_tables_and_memory_answer_the_same(
    tmp_path: Path, riverside_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    path = tmp_path / "colors.json"
    path.write_bytes(orjson.dumps(color_system(url="urn:table")))
    take("codesystem", path, "", riverside_scope, alice_actor, now)
    path.write_bytes(orjson.dumps(color_system()))
    with tenant_scope(riverside_scope):
        from fhir import store

        store.create(
            resource=color_system(), resource_type="CodeSystem", actor=alice_actor, now=now
        )
        for condition in FILTERS:
            both = [
                sorted(codes(value_set("v", {"system": url, "filter": [condition]})))
                for url in (COLORS, "urn:table")
            ]
            assert both[0] == both[1], condition


def test_an_import_replaces_its_own_version_and_is_seen_when_complete(
    loinc: Path, riverside_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    for _ in range(2):
        take("loinc", loinc, "2.78", riverside_scope, alice_actor, now)
    with tenant_scope(riverside_scope):
        [table] = find_tables(LOINC)
        assert table.concepts == 5
        release = read_release("loinc", loinc, "2.79")

    def cut() -> None:
        def broken():  # type: ignore[no-untyped-def]
            yield from list(release.concepts)[:2]
            raise RuntimeError("killed")

        half = type(release)(release.url, release.version, release.name, broken())
        load(scope=riverside_scope, release=half, source="x", actor=alice_actor, now=now)

    with pytest.raises(RuntimeError):
        cut()
    with tenant_scope(riverside_scope):
        assert [table.version for table in find_tables(LOINC)] == ["2.78"]


def test_other_tenants_see_nothing_of_an_import(
    loinc: Path,
    riverside_scope: Scope,
    lakeside_scope: Scope,
    riverside_production_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    take("loinc", loinc, "2.78", riverside_scope, alice_actor, now)
    for scope in (lakeside_scope, riverside_production_scope):
        with tenant_scope(scope):
            assert find_tables(LOINC) == []


def test_the_command_imports_and_says_what_it_lacks(loinc: Path, tmp_path: Path) -> None:
    out = StringIO()
    whose = {"organization": "org_riverside", "environment": "sandbox"}
    call_command("import_terminology", "loinc", str(loinc), release="2.78", stdout=out, **whose)
    assert out.getvalue() == "5 concepts of http://loinc.org|2.78\n"
    for wrong in (
        {"release": ""},
        {"release": "2.78", "organization": "org_nobody"},
    ):
        with pytest.raises(CommandError):
            call_command("import_terminology", "loinc", str(loinc), **{**whose, **wrong})
    with pytest.raises(CommandError, match="sct2_Description"):
        call_command("import_terminology", "snomed", str(loinc), release="20240101", **whose)
    with pytest.raises(MissingFile):
        read_release("loinc", tmp_path / "nowhere", "1")
