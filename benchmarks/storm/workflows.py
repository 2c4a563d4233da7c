"""The workflows of the storm, one for each way of having an effect, and what each must leave.

Each effect in the clinical store is a Basic resource whose identifier names run and step, so that
anyone can count it; each event names its run.
"""

from typing import Any

Json = dict[str, Any]
SYSTEM = "urn:healthcloud:storm"
WATCHED = {"system": SYSTEM, "code": "watched"}
PATIENTS = ["pat_camila"]


def basic(name: str, *, id: str | None = None, state: str = "made") -> Json:
    """Return the resource that a step called `name` leaves for its run."""
    resource: Json = {
        "resourceType": "Basic",
        "code": {"text": state},
        "identifier": [{"system": SYSTEM, "value": f"{{{{ run.id }}}}/{name}"}],
    }
    return {**resource, "id": id} if id else resource


def create(name: str, **more: object) -> Json:
    """Return a step that creates a resource."""
    return {"id": name, "kind": "fhir_create", "with": {"resource": basic(name)}, **more}


def call(name: str, url: str, query: str = "", **more: object) -> Json:
    """Return a step that calls the counting service."""
    address = f"{url}/call/{{{{ run.id }}}}/{name}{query}"
    return {
        "id": name,
        "kind": "http_request",
        "with": {"url": address, "method": "POST", "body": {"step": name}},
        "retry": {"max_attempts": 30, "initial_interval": "0.3s", "maximum_interval": "2s"},
        **more,
    }


def entry(name: str) -> Json:
    """Return an entry of a transaction that creates a resource."""
    return {"resource": basic(name), "request": {"method": "POST", "url": "Basic"}}


def definitions(url: str) -> list[Json]:
    """Return the definitions; `url` is where the counting service listens."""
    emit = {
        "id": "tell",
        "kind": "emit",
        "with": {"type": "custom.storm.fired", "payload": {"run_id": "{{ run.id }}"}},
    }
    twice = [create("make"), _change(), create("after")]
    numbers = {"id": "numbers", "kind": "transform", "with": {"list": list(range(8))}}
    branches = [{"name": n, "steps": [create(f"{n}1"), create(f"{n}2")]} for n in "abc"]
    undo = {"compensate": [create("undo")]}
    pause = {"id": "pause", "kind": "wait", "with": {"duration": "{{ input.pause }}"}}
    flows = {
        "data": [numbers, {"id": "sum", "kind": "transform", "with": {"n": "{{ 1 + 1 }}"}}, emit],
        "create": [create(f"s{n}") for n in range(6)],
        "update": twice,
        "transaction": [_transaction()],
        "conditional": [_conditional()],
        "map": [numbers, _map()],
        "parallel": [{"id": "both", "kind": "parallel", "branches": branches}],
        "loop": [_loop()],
        "timer": [create("before"), pause, create("after")],
        "signal": [_wait_for_signal(), create("after")],
        "approval": [_approval(), create("after")],
        "child": [_child(), create("after")],
        "http": [call("one", url), create("between"), call("two", url)],
        "retried": [call("stubborn", url, "?fail=2")],
        "compensated": [
            create("make", **undo),
            {"id": "no", "kind": "fail", "with": {"message": "stop", "code": "refused"}},
        ],
        "connector": [_connector()],
        "canceled": [create("before"), {**_wait_for_signal(), "id": "never"}, create("after")],
        "heard": [create("heard")],
        "watched": [create("seen")],
        "long": [create(f"s{n}") for n in range(60)],
    }
    triggers = {
        "heard": [{"kind": "event", "type": "custom.storm.fired"}],
        "watched": [{"kind": "fhir", "criteria": f"Basic?code={SYSTEM}|watched", "on": ["create"]}],
    }
    return [
        {
            "slug": f"storm_{name}",
            "name": f"Storm: {name}",
            "steps": steps,
            **({"triggers": triggers[name]} if name in triggers else {}),
        }
        for name, steps in flows.items()
    ]


def _change() -> Json:
    resource = basic("make", id="{{ steps.make.output.id }}", state="changed")
    return {"id": "change", "kind": "fhir_update", "with": {"resource": resource}}


def _transaction() -> Json:
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry("t1"), entry("t2"), entry("t3")],
    }
    return {"id": "all", "kind": "fhir_transaction", "with": {"bundle": bundle}}


def _conditional() -> Json:
    search = f"identifier={SYSTEM}|{{{{ run.id }}}}/once"
    return {
        "id": "once",
        "kind": "fhir_create",
        "with": {"resource": basic("once"), "if_none_exist": search},
    }


def _map() -> Json:
    return {
        "id": "each",
        "kind": "map",
        "with": {"items": "{{ steps.numbers.output.list }}", "max_concurrency": 4},
        "steps": [
            {
                "id": "item",
                "kind": "fhir_create",
                "with": {"resource": basic("item{{ item }}")},
            }
        ],
    }


def _loop() -> Json:
    count = {
        "id": "count",
        "kind": "transform",
        "with": {"n": "{{ coalesce(item.previous.n, 0) + 1 }}"},
    }
    made = basic("round{{ steps.count.output.n }}")
    return {
        "id": "rounds",
        "kind": "loop",
        "with": {
            "until": "steps.count.output.n >= 4",
            "output": {"n": "{{ steps.count.output.n }}"},
        },
        "steps": [count, {"id": "make", "kind": "fhir_create", "with": {"resource": made}}],
    }


def _wait_for_signal() -> Json:
    return {"id": "wait", "kind": "wait", "with": {"signal": "go", "timeout": "2h"}}


def _approval() -> Json:
    return {"id": "ask", "kind": "approval", "with": {"title": "May it go on?"}}


def _child() -> Json:
    return {"id": "child", "kind": "workflow", "with": {"workflow": "storm_create"}}


def _connector() -> Json:
    return {
        "id": "fetch",
        "kind": "connector",
        "with": {"connector": "quest_diagnostics", "action": "retrieve_results", "input": {}},
        "retry": {"max_attempts": 20, "initial_interval": "0.5s", "maximum_interval": "3s"},
    }


EFFECTS: dict[str, list[str]] = {
    "data": [],
    "create": [f"s{n}" for n in range(6)],
    "update": ["make", "after"],
    "transaction": ["t1", "t2", "t3"],
    "conditional": ["once"],
    "map": [f"item{n}" for n in range(8)],
    "parallel": [f"{n}{m}" for n in "abc" for m in "12"],
    "loop": [f"round{n}" for n in range(1, 5)],
    "timer": ["before", "after"],
    "signal": ["after"],
    "approval": ["after"],
    "child": ["after"],
    "http": ["between"],
    "retried": [],
    "compensated": ["make", "undo"],
    "connector": [],
    "canceled": ["before"],
    "heard": ["heard"],
    "watched": ["seen"],
    "long": [f"s{n}" for n in range(60)],
    "uti_screening": [],
}
CALLS = {"http": ["one", "two"], "retried": ["stubborn"]}
ENDINGS = {"compensated": "failed", "canceled": "canceled"}
# What clients start; `heard` and `watched` are started by triggers.
STARTED = [
    "data",
    "create",
    "update",
    "transaction",
    "conditional",
    "map",
    "parallel",
    "loop",
    "timer",
    "signal",
    "approval",
    "child",
    "http",
    "retried",
    "compensated",
    "connector",
    "canceled",
    "long",
    "uti_screening",
]
