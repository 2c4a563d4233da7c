"""What a condition or an entry of a Bundle reads, held against the caller's scopes.

A condition tells by its outcome what is there, and a Bundle's entries are requests of their own:
neither may show to a key that writes what it may not read.
"""

from fhir.documents import JsonObject, ParsedResource
from fhir.identity import check_type
from fhir.interactions.bundle import Entry
from fhir.interactions.references import conditional_references
from fhir.search.parser import parse
from fhir.search.request import SearchRequest, types_touched
from fhir.subscriptions.definition import read_definition, rules
from fhir.writing import refuse_invalid
from healthcloud.api.principal import Principal
from healthcloud.api.scopes import EVERY_TYPE
from healthcloud.errors import Forbidden
from healthcloud.tenancy.scope import active_scope


def require(principal: Principal, scope: str) -> None:
    """Raise Forbidden unless the caller holds a scope."""
    if not principal.can(scope):
        raise Forbidden(
            f"This credential lacks the scope `{scope}`.", details={"required_scope": scope}
        )


def require_verb(principal: Principal, resource_type: str, verb: str) -> None:
    """Raise Forbidden unless the caller may do one of `cruds` to a type (`*`: to all of them)."""
    if not principal.may(resource_type, verb):
        scope = f"system/{resource_type}.{verb}"
        raise Forbidden(
            f"This credential lacks the scope `{scope}`.", details={"required_scope": scope}
        )


def require_whole(what: str) -> None:
    """Refuse to a narrowed caller what works where nothing narrows it; inside `tenant_scope`."""
    if active_scope().sight:
        raise Forbidden(f"{what} takes the whole project: this credential sees a part of it.")


def require_search(principal: Principal, request: SearchRequest) -> None:
    """Refuse a search whose criteria test types that the caller may not read."""
    for touched in types_touched(request):
        require(principal, f"{touched}:read")


def require_condition(principal: Principal, resource_type: str, query: str) -> None:
    """Refuse a conditional interaction by a caller who may not make the search that it is."""
    check_type(resource_type)
    require(principal, _read_scope(resource_type))
    require_verb(principal, resource_type, "s")
    text = query.partition("?")[2] if "?" in query else query
    require_search(principal, parse(resource_type, text))


def require_subscription(principal: Principal, resource: JsonObject) -> None:
    """Refuse a Subscription whose criteria read what the caller may not."""
    if resource.get("resourceType") != "Subscription":
        return
    if principal.is_narrowed:
        raise Forbidden("A Subscription is told of the whole project: this credential sees less.")
    for rule in rules(read_definition(resource)):
        require(principal, f"{rule.resource_type}:read")
        for request in rule.current:
            require_search(principal, request)


def require_entry(principal: Principal, entry: Entry) -> None:
    """Refuse an entry that does what the caller may not, or reads what they may not."""
    if entry.call:  # what a call needs is held against its declaration when it is made
        return
    if entry.resource_type[:1].isupper():
        require_verb(principal, entry.resource_type, _verb(entry))
    if entry.is_read:
        _require_read(principal, entry)
        return
    if entry.if_none_exist:
        require_condition(principal, entry.resource_type, entry.if_none_exist)
    if entry.method == "PATCH":  # what it tests and answers is read
        is_open = entry.resource_type == "Subscription"  # it may ask for anything once patched
        require(principal, "fhir:read" if is_open else _read_scope(entry.resource_type))
    if entry.method in {"PUT", "PATCH", "DELETE"} and entry.id is None:
        require_condition(principal, entry.resource_type, entry.query)
    if entry.resource is not None:
        _require_content(principal, entry, entry.resource)


def _verb(entry: Entry) -> str:
    if entry.is_read:
        return "r" if not entry.is_search and len(entry.path.strip("/").split("/")) != 1 else "s"
    return {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}[entry.method]


def _require_content(principal: Principal, entry: Entry, resource: ParsedResource) -> None:
    if entry.resource_type == "Subscription":
        refuse_invalid(resource)  # what is read below must be there
        require_subscription(principal, resource.data)
    for resource_type, query in conditional_references(resource):
        require_condition(principal, resource_type, query)


def _require_read(principal: Principal, entry: Entry) -> None:
    names = [name for name in entry.path.split("/") if name and name != "_search"]
    searched = names[2] if len(names) == 3 else names[0] if names else ""
    searched = names[0] if searched == "_history" else searched
    require(principal, _read_scope(searched))
    if not names or searched == "*":
        require_verb(principal, EVERY_TYPE, "s")
    if "_history" in names and "_list=" in entry.query:
        require(principal, "List:read")
    if len(names) not in {1, 3} or "_history" in names or principal.can("fhir:read"):
        return
    check_type(searched)
    request = parse(searched, entry.query)
    require_search(principal, request)
    if request.includes or request.revincludes or request.contained:
        require(principal, "fhir:read")


def _read_scope(resource_type: str) -> str:
    return f"{resource_type}:read" if resource_type[:1].isupper() else "fhir:read"
