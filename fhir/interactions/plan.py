"""What a transaction will do: ids and references known before anything is written.

https://hl7.org/fhir/R4/http.html#trules
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from fhir.documents import new_id
from fhir.errors import (
    InvalidBundle,
    InvalidResource,
    NothingMatches,
)
from fhir.identity import check_body_id, check_id, check_if_match, check_type
from fhir.interactions.bundle import (
    Answer,
    Entry,
    answer_deleted,
    answer_written,
    condition_of,
    needs_resource,
    patch_of,
)
from fhir.interactions.conditional import (
    Condition,
    lock_conditions,
    lock_key,
    meant_by,
    normal,
    only,
    read_condition,
)
from fhir.interactions.delete import most_deleted, refuse_too_many
from fhir.interactions.references import NO_LINKS, Links, conditional_references
from fhir.patches import Patch
from fhir.search.request import SearchRequest
from fhir.search.service import first_pages
from fhir.stored import StoredResource
from fhir.writing import Write
from healthcloud.errors import HealthCloudError


@dataclass(slots=True)
class Plan:
    """What a transaction will do, as it becomes known."""

    write: Write
    now: datetime
    keys: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Position of each entry that writes, with type and id."""
    targets: dict[str, str] = field(default_factory=dict)
    """Full URLs and conditional references, with the `Type/id` that each stands for."""
    links: Links = NO_LINKS
    """The same, once all are known."""
    found: dict[Condition, int] = field(default_factory=dict)
    """Conditions in their normal form, with the position of the entry that makes their match."""
    matches: dict[Condition, list[StoredResource]] = field(default_factory=dict)
    """Conditions of entries and references, with what they match."""
    patches: dict[int, Patch] = field(default_factory=dict)
    """Patches by position."""
    unmatched: set[int] = field(default_factory=set)
    """Positions of updates whose condition matches nothing."""
    more: list[Entry] = field(default_factory=list)
    """Deletes that stand for one entry whose condition matches several; positions below 0."""
    origins: dict[int, int] = field(default_factory=dict)
    """Position of the entry that each of them stands for."""
    answers: dict[int, Answer] = field(default_factory=dict)
    """Answers by position."""
    deleted: set[tuple[str, str]] = field(default_factory=set)
    """What the transaction deletes, which comes before all else."""

    def name(self, entry: Entry, reference: str) -> None:
        """Let the entry's full URL stand for a reference, and its old `Type/id` too."""
        if entry.full_url:
            self.targets[entry.full_url] = reference
            parts = entry.full_url.rsplit("/", 2)
            if len(parts) == 3 and parts[1] == entry.resource_type:
                self.targets[f"{parts[1]}/{parts[2]}"] = reference

    def match(self, entry: Entry) -> StoredResource | None:
        """Return what the entry's condition matches; raises MultipleMatches."""
        condition = condition_of(entry)
        assert condition is not None
        return only(entry.resource_type, self.matches[condition])

    def remaining(self, condition: Condition) -> list[StoredResource]:
        """Return what a condition matches once the deletes are done."""
        found = self.matches[condition]
        if not self.deleted:
            return found
        return [one for one in found if (condition[0], one.id) not in self.deleted]


def make_plan(entries: list[Entry], write: Write, now: datetime) -> Plan:
    """Return the plan of a transaction, whose entries come in the order of the rules."""
    plan = Plan(write, now)
    _refuse_one_name_for_two(entries)
    _find_matches(entries, plan)
    for entry in entries:
        if entry.is_write:
            with naming(entry):
                _identify(entry, plan)
    _refuse_overlap(plan)
    for entry in entries:
        with naming(entry):
            _resolve_conditional(entry, plan)
    plan.links = Links(plan.targets)
    return plan


def _refuse_one_name_for_two(entries: list[Entry]) -> None:
    """A full URL that two entries with a resource have says nothing (bdl-7)."""
    seen: dict[str, int] = {}
    for entry in entries:
        if not (entry.full_url and entry.is_write and entry.resource is not None):
            continue
        earlier = seen.setdefault(entry.full_url, entry.position)
        if earlier != entry.position and not entry.if_none_exist:
            raise InvalidBundle(
                f"Bundle.entry[{earlier}] and {entry.where} have the same fullUrl"
                f" `{entry.full_url[:120]}`: give each its own.",
                param=f"{entry.where}.fullUrl",
            )


def _find_matches(entries: list[Entry], plan: Plan) -> None:
    """Lock the conditions of all entries, and search for them and for those of references."""
    requests: dict[Condition, SearchRequest] = {}
    keys: set[int] = set()
    enough = 2 + _most_deletes(entries)
    for entry in entries:
        with naming(entry):
            condition = condition_of(entry)
            if condition is not None:
                limit = max(enough, most_deleted() + 1) if entry.method == "DELETE" else enough
                requests[condition] = read_condition(*condition, limit=limit)
                keys.add(lock_key(*condition))
            for reference in _references_of(entry):
                if reference not in requests:
                    requests[reference] = read_condition(*reference, limit=enough)
    lock_conditions(keys)
    pages = first_pages(list(requests.values()), now=plan.now)
    plan.matches = dict(zip(requests, pages, strict=True))


def _most_deletes(entries: list[Entry]) -> int:
    """Return how many of the matches of a condition the transaction may delete itself."""
    deletes = (entry for entry in entries if entry.method == "DELETE")
    return sum(1 if entry.id is not None else most_deleted() for entry in deletes)


def _references_of(entry: Entry) -> Iterable[Condition]:
    return conditional_references(entry.resource) if entry.resource is not None else ()


@contextmanager
def naming(entry: Entry) -> Iterator[None]:
    """Let an error of this entry say which entry failed."""
    try:
        yield
    except InvalidResource as error:
        raise InvalidResource(entry.where, list(_at_entry(entry, error))) from None
    except HealthCloudError as error:
        error.message = f"{entry.where}: {error.message}"
        error.param = f"{entry.where}.request"
        raise


def _at_entry(entry: Entry, error: InvalidResource) -> Iterator[dict[str, object]]:
    """Yield the issues of an entry's resource with expressions that begin at the Bundle."""
    for issue in error.issues:
        paths = issue.get("expression")
        found = paths if isinstance(paths, list) else [entry.resource_type]
        below = [str(path).partition(".")[1:] for path in found]
        yield {**issue, "expression": [f"{entry.where}.resource{dot}{rest}" for dot, rest in below]}


# --- which id an entry is about ---------------------------------------------------------------


def _identify(entry: Entry, plan: Plan) -> None:
    check_type(entry.resource_type)
    if entry.method == "POST":
        _identify_create(entry, plan)
    elif entry.method == "PUT":
        _identify_update(entry, plan)
    elif entry.method == "PATCH":
        _identify_patch(entry, plan)
    else:
        _identify_delete(entry, plan)


def _identify_create(entry: Entry, plan: Plan) -> None:
    condition = condition_of(entry)
    if condition is not None:
        earlier = plan.found.setdefault(normal(condition), entry.position)
        if earlier != entry.position and earlier in plan.keys:
            plan.name(entry, "/".join(plan.keys[earlier]))
            return
        existing = only(entry.resource_type, plan.remaining(condition))
        if existing is not None:
            plan.name(entry, existing.reference)
            plan.answers[entry.position] = answer_written(existing)
            return
    _plan_write(entry, new_id(), plan)


def _identify_update(entry: Entry, plan: Plan) -> None:
    resource = needs_resource(entry)
    rid = entry.id
    if rid is None:
        existing = plan.match(entry)
        rid = existing.id if existing else resource.id or new_id()
        if existing is None:
            _claim(entry, plan)
        if resource.id is not None:
            check_body_id(resource, rid)
    else:
        check_body_id(resource, rid)
    check_id(rid)
    _plan_write(entry, rid, plan)


def _claim(entry: Entry, plan: Plan) -> None:
    """Let the entry alone make what its condition does not find."""
    plan.unmatched.add(entry.position)
    earlier = plan.found.setdefault(normal((entry.resource_type, entry.query)), entry.position)
    if earlier != entry.position and earlier in plan.keys:
        raise InvalidBundle(
            f"Bundle.entry[{earlier}] makes what the same condition finds; a transaction may"
            " write a resource once."
        )


def _identify_patch(entry: Entry, plan: Plan) -> None:
    plan.patches[entry.position] = patch_of(entry)
    rid = entry.id
    if rid is None:
        existing = plan.match(entry)
        if existing is None:
            raise NothingMatches(f"No {entry.resource_type} matches the condition.")
        rid = existing.id
    check_id(rid)
    _plan_write(entry, rid, plan)


def _identify_delete(entry: Entry, plan: Plan) -> None:
    if entry.id is not None:
        check_id(entry.id)
        plan.keys[entry.position] = (entry.resource_type, entry.id)
        plan.deleted.add((entry.resource_type, entry.id))
        return
    found = plan.matches[(entry.resource_type, entry.query)]
    refuse_too_many(entry.resource_type, found)
    if not found:
        check_if_match(entry.if_match, None)
    if len(found) != 1:
        plan.answers[entry.position] = answer_deleted(None)
    for match in found:
        one = entry if len(found) == 1 else replace(entry, position=-1 - len(plan.more))
        plan.keys[one.position] = (entry.resource_type, match.id)
        plan.deleted.add((entry.resource_type, match.id))
        if one is not entry:
            plan.more.append(one)
            plan.origins[one.position] = entry.position


def _plan_write(entry: Entry, rid: str, plan: Plan) -> None:
    plan.keys[entry.position] = (entry.resource_type, rid)
    plan.name(entry, f"{entry.resource_type}/{rid}")


def _refuse_overlap(plan: Plan) -> None:
    """Two entries may not write the same resource: the outcome would depend on their order."""
    seen: dict[tuple[str, str], int] = {}
    for position, key in plan.keys.items():
        if key in seen:
            raise InvalidBundle(
                f"Bundle.entry[{seen[key]}] and Bundle.entry[{position}] both write"
                f" {key[0]}/{key[1]}; a transaction may write a resource once.",
                param=f"Bundle.entry[{position}]",
            )
        seen[key] = position


# --- what references stand for ----------------------------------------------------------------


def _resolve_conditional(entry: Entry, plan: Plan) -> None:
    """Resolve the entry's conditional references; each must match exactly one resource."""
    for condition in _references_of(entry):
        name = "?".join(condition)
        if name in plan.targets:
            continue
        creator = plan.found.get(normal(condition))
        matches = plan.remaining(condition)
        if creator in plan.keys and not matches:
            plan.targets[name] = "/".join(plan.keys[creator])
        else:
            plan.targets[name] = meant_by(condition, matches)
