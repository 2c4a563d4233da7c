"""The topics that clients subscribe to, as R5 defines them, expressed in R4 as Basic resources.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/components.html#subscription-topics
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from fhir.definitions import is_resource_type, resource_types
from fhir.documents import JsonObject

CANONICAL: Final = "https://healthcloud.dev/fhir/SubscriptionTopic/"
ALL: Final = ("create", "update", "delete")
WRITES: Final = ("create", "update")
_R5: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic."
_CHANGED: Final = "-changed"


@dataclass(frozen=True, slots=True)
class Trigger:
    """What sets a topic off: an interaction with a type, before and after which criteria hold.

    An empty query holds for everything. `previous` is tested where there is a version before.
    """

    resource_type: str
    interactions: tuple[str, ...] = WRITES
    current: str = ""
    previous: str = ""


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind of event that a client may subscribe to."""

    slug: str
    title: str
    triggers: tuple[Trigger, ...]

    @property
    def url(self) -> str:
        """Return the canonical URL by which Subscriptions name the topic."""
        return CANONICAL + self.slug

    def as_basic(self) -> JsonObject:
        """Return the R5 SubscriptionTopic in the form that the backport gives it in R4."""
        return {
            "resourceType": "Basic",
            "id": self.slug,
            "extension": [
                {"url": _R5 + "url", "valueUri": self.url},
                {"url": _R5 + "version", "valueString": "1.0.0"},
                {"url": _R5 + "title", "valueString": self.title},
                {"url": _R5 + "status", "valueCode": "active"},
                *(_trigger_extension(trigger) for trigger in self.triggers),
                *(
                    {
                        "url": _R5 + "canFilterBy",
                        "extension": [
                            {"url": "resource", "valueUri": _type_url(trigger.resource_type)},
                            {"url": "description", "valueMarkdown": "Any search parameter."},
                        ],
                    }
                    for trigger in self.triggers
                ),
            ],
            "code": {
                "coding": [
                    {"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}
                ]
            },
        }


_TOPICS: Final = (
    Topic(
        "diagnostic-result-ready",
        "A diagnostic report became final.",
        (
            Trigger(
                "DiagnosticReport",
                current="status=final,amended,corrected,appended",
                previous="status:not=final",
            ),
        ),
    ),
    Topic(
        "observation-final",
        "An observation became final.",
        (Trigger("Observation", current="status=final", previous="status:not=final"),),
    ),
    Topic(
        "encounter-start",
        "An encounter began.",
        (Trigger("Encounter", current="status=in-progress", previous="status:not=in-progress"),),
    ),
    Topic(
        "prior-auth-status",
        "A payer's answer to a prior authorization was stored or changed.",
        (Trigger("ClaimResponse"),),
    ),
    Topic(
        "care-gap-opened",
        "An issue with a patient's care was detected.",
        (Trigger("DetectedIssue", ("create",)),),
    ),
    Topic(
        "patient-merge",
        "A patient was linked to another record of the same person.",
        (Trigger("Patient", current="link:missing=false", previous="link:missing=true"),),
    ),
)
_FIRST_CLASS: Final = ("Patient", "Observation", "Condition", "Encounter", "DiagnosticReport")


def find_topic(url: str) -> Topic | None:
    """Return the topic of a canonical URL (a version after `|` is ignored)."""
    slug = url.partition("|")[0].removeprefix(CANONICAL)
    return _by_slug().get(slug) or _changed(slug) if url.startswith(CANONICAL) else None


def find_by_slug(slug: str) -> Topic | None:
    """Return the topic of an id."""
    return find_topic(CANONICAL + slug)


def advertised() -> list[Topic]:
    """Return the topics to name in the CapabilityStatement; every type has a `…-changed` one."""
    changed = [_changed(f"{name.lower()}{_CHANGED}") for name in _FIRST_CLASS]
    return [*_TOPICS, *(topic for topic in changed if topic)]


@cache
def _by_slug() -> dict[str, Topic]:
    return {topic.slug: topic for topic in _TOPICS}


@cache
def _types() -> dict[str, str]:
    return {name.lower(): name for name in resource_types() if is_resource_type(name)}


def _changed(slug: str) -> Topic | None:
    """Return the topic of every change of a type, such as `observation-changed`."""
    name = _types().get(slug.removesuffix(_CHANGED)) if slug.endswith(_CHANGED) else None
    if name is None:
        return None
    return Topic(slug, f"A resource of type {name} changed.", (Trigger(name, ALL),))


def _trigger_extension(trigger: Trigger) -> JsonObject:
    criteria = [
        {"url": name, "valueString": query}
        for name, query in (("previous", trigger.previous), ("current", trigger.current))
        if query
    ]
    return {
        "url": _R5 + "resourceTrigger",
        "extension": [
            {"url": "resource", "valueUri": _type_url(trigger.resource_type)},
            *({"url": "supportedInteraction", "valueCode": i} for i in trigger.interactions),
            *([{"url": "queryCriteria", "extension": criteria}] if criteria else []),
        ],
    }


def _type_url(resource_type: str) -> str:
    return f"http://hl7.org/fhir/StructureDefinition/{resource_type}"
