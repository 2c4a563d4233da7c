"""`manage.py dead_letters`: operators see what was given up and bring it back."""

from io import StringIO

from django.core.management import call_command

from healthcloud.ledger import queries
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope


def bury(scope: Scope, ref: str) -> None:
    enqueue(scope=scope, kind="test.work", ref=ref, dedupe_key=ref)
    DueWork.objects.filter(ref=ref).update(state="dead", last_error="RuntimeError")


def dead_letters(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("dead_letters", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_dead_letters_are_listed_by_environment_and_kind(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    bury(riverside_scope, "one")
    bury(lakeside_scope, "two")
    assert len(dead_letters()) == 2
    (line,) = dead_letters("--environment", lakeside_scope.environment_id)
    assert line.split()[1:] == [lakeside_scope.environment_id, "test.work", "two", "RuntimeError"]
    assert dead_letters("--kind", "test.other") == []
    assert queries.dead_counts() == {"control": 2}


def test_dead_letters_are_replayed_unless_the_work_is_queued_again(riverside_scope: Scope) -> None:
    bury(riverside_scope, "one")
    bury(riverside_scope, "two")
    enqueue(scope=riverside_scope, kind="test.work", ref="two", dedupe_key="two")
    lines = dead_letters("--replay")
    assert [line.rpartition(": ")[2] for line in lines] == ["is queued again already", "replayed"]
    states = dict(DueWork.objects.filter(attempts=0).values_list("ref", "state"))
    assert states["one"] == "ready"
    assert queries.dead_counts() == {"control": 1}
