"""What differs between two definitions: steps by id, and the members beside them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
_NESTED = ("steps", "otherwise", "on_timeout", "on_error", "compensate")


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Json]:
    """Return the changes in the order of the new definition, then what was removed.

    Each is `{"change": "added|removed|changed|moved", "step", "field", "from", "to"}`; `step` is
    null for members of the definition itself.
    """
    changes: list[Json] = []
    apart = ("steps", "on_failure")
    for name in sorted((set(old) | set(new)) - set(apart)):
        if old.get(name) != new.get(name):
            changes.append(_change("changed", None, name, old.get(name), new.get(name)))
    before = dict(_steps(old))
    after = dict(_steps(new))
    for identifier, (place, step) in after.items():
        if identifier not in before:
            changes.append(_change("added", identifier, place, None, step))
            continue
        old_place, old_step = before[identifier]
        if old_place != place:
            changes.append(_change("moved", identifier, "", old_place, place))
        changes.extend(_members(identifier, old_step, step))
    for identifier, (place, step) in before.items():
        if identifier not in after:
            changes.append(_change("removed", identifier, place, step, None))
    return changes


def _members(identifier: str, old: Json, new: Json) -> Iterator[Json]:
    for name in sorted(set(old) | set(new)):
        if old.get(name) != new.get(name):
            yield _change("changed", identifier, name, old.get(name), new.get(name))


def _change(kind: str, step: str | None, at: str, old: object, new: object) -> Json:
    return {"change": kind, "step": step, "field": at, "from": old, "to": new}


def _steps(definition: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, Json]]]:
    """Yield each step by id with its place (what it stands in, after which), without inner ones."""
    for member in ("steps", "on_failure"):
        yield from _block(definition.get(member), member)


def _block(value: object, place: str) -> Iterator[tuple[str, tuple[str, Json]]]:
    if not isinstance(value, list):
        return
    previous = "the beginning"
    for step in value:
        if not isinstance(step, dict):
            continue
        identifier = str(step.get("id"))
        yield identifier, (f"{place} after {previous}", _bare(step))
        for member in _NESTED:
            yield from _block(step.get(member), f"{identifier}.{member}")
        for index, branch in enumerate(step.get("branches") or []):
            if isinstance(branch, dict):
                yield from _block(branch.get("steps"), f"{identifier}.branches[{index}]")
        previous = identifier


def _bare(step: Json) -> Json:
    """Return a step without those inside it; of branches their names and conditions stay."""
    bare = {
        name: value
        for name, value in step.items()
        if name not in _NESTED or not isinstance(value, list)
    }
    if isinstance(step.get("branches"), list):
        bare["branches"] = [
            {name: value for name, value in branch.items() if name != "steps"}
            for branch in step["branches"]
            if isinstance(branch, dict)
        ]
    return bare
