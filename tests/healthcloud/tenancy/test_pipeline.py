"""Statements in one round trip: values arrive as they are, and a group fails as one."""

from datetime import UTC, date, datetime

import psycopg
import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from healthcloud.tenancy.pipeline import Refused, Statement, numbered, run
from healthcloud.tenancy.scope import DirectEntry, Scope, direct_scope, execute, tenant_scope

NOBODY = Statement("FROM organizations_apikey WHERE id = %s", ("key_nobody",))
ANYBODY = Statement("FROM (SELECT 1) AS anybody")


def test_placeholders_are_numbered_and_percent_signs_kept() -> None:
    assert numbered("a = %s AND b = %b AND c LIKE '%%'") == b"a = $1 AND b = $2 AND c LIKE '%'"


@pytest.mark.django_db
def test_values_come_back_as_they_went(in_riverside: Scope) -> None:
    moment = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
    values = (-(2**63), 1.25, 'é"\\{}', moment, None)
    sql = "SELECT %s::bigint, %s::double precision, %s::text, %s::timestamptz, %s::integer, true"
    [[row]] = execute([Statement(sql, values)])
    assert row == (-(2**63), 1.25, 'é"\\{}'.encode(), moment, None, True)
    [[other]] = execute([Statement("SELECT ARRAY['a', NULL], DATE '2026-01-01'")])
    assert other == (["a", None], date(2026, 1, 1))


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@pytest.mark.django_db
def test_arrays_of_text_need_no_quoting(in_riverside: Scope) -> None:
    sql = "SELECT value FROM unnest(%b::text[]) WITH ORDINALITY AS t(value, n) ORDER BY n"

    @given(st.lists(st.none() | TEXT))
    def check(texts: list[str | None]) -> None:
        [rows] = execute([Statement(sql, (texts,))])
        assert [value for (value,) in rows] == [t if t is None else t.encode() for t in texts]

    check()


@pytest.mark.django_db
def test_the_character_nul_is_refused_before_anything_is_sent(in_riverside: Scope) -> None:
    with pytest.raises(Exception, match=r"U\+0000"):
        execute([Statement("SELECT %s::text", ("a\0b",))])
    assert execute([Statement("SELECT 1")]) == [[(1,)]]


@pytest.mark.django_db
def test_a_prepared_statement_is_prepared_once(in_riverside: Scope) -> None:
    statement = Statement("SELECT %s::integer + 41", (1,), prepare=True)
    assert [execute([statement]), execute([statement])] == [[[(42,)]], [[(42,)]]]
    session = connection.session()  # type: ignore[attr-defined]  # our backend
    assert list(session.prepared).count(statement.sql) == 1


def test_commands_have_no_rows_and_a_large_value_passes(live_tenant: Scope) -> None:
    text = "x" * (8 << 20)
    with tenant_scope(live_tenant):
        groups = execute(
            [Statement("CREATE TEMPORARY TABLE t (n text)"), Statement("SELECT %s::text", (text,))]
        )
    assert groups == [[], [(text.encode(),)]]


def test_outside_a_transaction_a_group_is_one(live_tenant: Scope) -> None:
    insert = Statement(
        "INSERT INTO fhir_date (resource, param, low, high, project, rtype)"
        " VALUES (1, 1, 1, 1, %s::integer, 1)",
        (live_tenant.project_number,),
    )
    with pytest.raises(Exception, match="division by zero"), _direct(live_tenant):
        execute([insert, Statement("SELECT 1 / %s::integer", (0,))])
    assert _dates(live_tenant) == 0
    with _direct(live_tenant):
        execute([insert])
    assert _dates(live_tenant) == 1
    session = connection.session()  # type: ignore[attr-defined]  # our backend
    assert run(session, [Statement("SELECT current_user = session_user")]) == [[(True,)]]


def test_without_its_guard_nobody_enters(live_tenant: Scope) -> None:
    entry = DirectEntry(live_tenant, NOBODY, readonly=True)
    with direct_scope(entry), pytest.raises(Refused):
        execute([Statement("SELECT count(*) FROM fhir_resource")])
    assert entry.groups == 0


def test_a_direct_scope_writes_one_group_only(live_tenant: Scope) -> None:
    with _direct(live_tenant):
        execute([Statement("SELECT 1")])
        with pytest.raises(RuntimeError, match="one group"):
            execute([Statement("SELECT 1")])


def test_a_readonly_direct_scope_reads_again_and_again_but_never_writes(live_tenant: Scope) -> None:
    entry = DirectEntry(live_tenant, ANYBODY, readonly=True)
    with direct_scope(entry):
        assert execute([Statement("SELECT 1")]) == execute([Statement("SELECT 1")])
        with pytest.raises(Exception, match="read-only"):
            execute([Statement("DELETE FROM fhir_date")])


def test_a_connection_that_is_lost_says_so(live_tenant: Scope) -> None:
    session = connection.session()  # type: ignore[attr-defined]  # our backend
    with pytest.raises(psycopg.OperationalError):
        run(session, [Statement("SELECT pg_terminate_backend(pg_backend_pid())")])
    connection.close()


def _direct(scope: Scope):  # type: ignore[no-untyped-def]  # a context manager
    return direct_scope(DirectEntry(scope, ANYBODY, readonly=False))


def _dates(scope: Scope) -> int:
    with tenant_scope(scope):
        return int(execute([Statement("SELECT count(*) FROM fhir_date")])[0][0][0])


@pytest.mark.django_db
def test_of_too_many_prepared_statements_the_one_at_rest_is_let_go(
    in_riverside: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("healthcloud.tenancy.pipeline.MAX_PREPARED", 3)
    session = connection.session()  # type: ignore[attr-defined]  # our backend
    execute([Statement("DEALLOCATE ALL")])
    session.prepared.clear()
    session.forgotten.clear()

    def ask(number: int) -> list[list[tuple[object, ...]]]:
        return execute([Statement(f"SELECT {number}", prepare=True)])

    for number in (1, 2, 3, 1, 4, 5):
        assert ask(number) == [[(number,)]]
    assert list(session.prepared) == ["SELECT 1", "SELECT 4", "SELECT 5"]
    [[(kept,)]] = execute([Statement("SELECT count(*) FROM pg_prepared_statements")])
    assert kept == 3
    assert ask(2) == [[(2,)]]
