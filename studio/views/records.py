"""Records: patients, one patient at a glance, any resource type, one resource with its history."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import redirect

from fhir import search, store
from fhir.definitions import is_resource_type, resource_types
from fhir.search import SearchResult
from fhir.stored import StoredResource
from healthcloud.errors import BadRequest
from healthcloud.numbers import number_of
from studio import clinical
from studio.clinical import LabSeries, Resource
from studio.display import tone_of
from studio.page import Page, studio_page

COUNT = "25"
KIND_TONES = {
    "Condition": "warn",
    "Encounter": "idle",
    "Observation": "info",
    "RiskAssessment": "accent",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A resource in a list."""

    type: str
    id: str
    version: int
    title: str
    detail: str
    status: str
    when: date | datetime | None
    tone: str
    resource: Resource


@dataclass(slots=True)
class Summary:
    """What the patient page shows."""

    labs: list[dict[str, object]] = field(default_factory=list)
    conditions: list[Row] = field(default_factory=list)
    medications: list[Row] = field(default_factory=list)
    allergies: list[Row] = field(default_factory=list)
    encounters: list[Row] = field(default_factory=list)
    findings: list[Row] = field(default_factory=list)
    timeline: list[Row] = field(default_factory=list)


def row_of(stored: StoredResource) -> Row:
    """Return how a resource stands in a list."""
    resource = stored.resource
    return Row(
        type=stored.resource_type,
        id=stored.id,
        version=stored.version,
        title=clinical.title_of(resource),
        detail=clinical.detail_of(resource),
        status=clinical.status_of(resource),
        when=clinical.moment_of(resource),
        tone=KIND_TONES.get(stored.resource_type, "idle"),
        resource=resource,
    )


def patient_row(stored: StoredResource, today: date) -> dict[str, object]:
    """Return what identifies a patient to people."""
    patient = stored.resource
    return {
        "id": stored.id,
        "name": clinical.name_of(patient),
        "gender": patient.get("gender", ""),
        "born": clinical.birth_date(patient),
        "age": clinical.age_of(patient, today),
        "identifier": clinical.record_number(patient),
        "updated_at": stored.updated_at,
    }


@studio_page("records", needs="record.read")
def patients(page: Page) -> HttpResponse:
    """List patients, found by name, birth date or record number."""
    words = page.request.GET.get("q", "").strip()
    found = find_patients(page, words)
    context: dict[str, object] = {
        "patients": [patient_row(stored, page.now.date()) for stored in found.entries],
        "total": found.total,
        "q": words,
        "next_url": next_url(words, found.next_query),
    }
    return page.render("studio/records/patients.html", context)


def find_patients(page: Page, words: str) -> SearchResult:
    """Return the patients that words find; a word that no record number matches may be an id."""
    query = page.request.GET.get("page") or patient_query(words)
    found = search.search(resource_type="Patient", query=query, now=page.now)
    if found.entries or not words or " " in words:
        return found
    return search.search(resource_type="Patient", query=[("_id", words)], now=page.now)


def patient_query(words: str) -> list[tuple[str, str]]:
    """Return the FHIR search that finds patients by what a person types."""
    query = [("_count", COUNT), ("_total", "accurate"), ("_sort", "family,_id")]
    for word in words.split():
        if word[:4].isdigit() and word.replace("-", "").isdigit() and len(word) in (4, 7, 10):
            query.append(("birthdate", word))
        elif any(mark.isdigit() for mark in word):
            query.append(("identifier", word))
        else:
            query.append(("name", word))
    return query


def next_url(words: str, query: str | None) -> str:
    """Return the address of the next page, or an empty text."""
    return "?" + urlencode({"q": words, "page": query}) if query else ""


@studio_page("records", needs="record.read")
def patient(page: Page, patient_id: str) -> HttpResponse:
    """Show a patient at a glance."""
    stored = store.read(resource_type="Patient", id=patient_id)
    context: dict[str, object] = {
        "patient": patient_row(stored, page.now.date()),
        "summary": summarize(reader(page, patient_id)),
    }
    return page.render("studio/records/patient.html", context)


def reader(page: Page, patient_id: str) -> Callable[..., list[StoredResource]]:
    """Return a function that searches one type in the patient's chart."""

    def read(resource_type: str, count: int = 100, **query: str) -> list[StoredResource]:
        pairs = [("patient", patient_id), ("_count", str(count)), *query.items()]
        return search.search(resource_type=resource_type, query=pairs, now=page.now).entries

    return read


def summarize(read: Callable[..., list[StoredResource]]) -> Summary:
    """Gather a patient's chart for the page."""
    observations = read("Observation", 500, _sort="-date")
    labs = [o for o in observations if is_laboratory(o.resource)]
    others = [
        read(name) for name in ("Condition", "MedicationRequest", "AllergyIntolerance", "Encounter")
    ]
    conditions, medications, allergies, encounters = (newest(rows) for rows in others)
    findings = newest(read("RiskAssessment", 20))
    reports = newest(read("DiagnosticReport", 50))
    timeline = [*conditions, *medications, *encounters, *reports, *findings]
    return Summary(
        labs=[lab_row(series) for series in clinical.lab_series(o.resource for o in labs)],
        conditions=conditions,
        medications=medications,
        allergies=allergies,
        encounters=encounters,
        findings=findings[:3],
        timeline=sorted(timeline, key=lambda row: str(row.when or ""), reverse=True)[:40],
    )


def newest(rows: Iterable[StoredResource]) -> list[Row]:
    """Return rows ordered by their clinical time, newest first."""
    return sorted(map(row_of, rows), key=lambda row: str(row.when or ""), reverse=True)


def is_laboratory(observation: Resource) -> bool:
    """Say whether an observation is of the category laboratory."""
    codings = [c for concept in observation.get("category", []) for c in concept.get("coding", [])]
    return any(coding.get("code") == "laboratory" for coding in codings)


def lab_row(series: LabSeries) -> dict[str, Any]:
    """Return one laboratory test for the page, its chart told in words too."""
    word = series.interpretation
    normal = word.lower() in {"", "n", "normal", "neg", "negative"}
    return {
        "title": series.title,
        "latest": series.latest,
        "value": series.value,
        "interpretation": "" if normal else word,
        "tone": "bad" if word.lower() in {"hh", "ll", "critical high", "critical low"} else "warn",
        "range_text": series.range_text,
        "when": clinical.moment_of(series.latest),
        "chart": series.chart,
        "chart_label": f"{series.title}: {series.count} values, latest {series.value}",
    }


@studio_page("records", needs="record.read")
def find_resources(page: Page) -> HttpResponse:
    """Turn the form's type and query into an address."""
    kind = page.request.GET.get("type", "Patient")
    if not is_resource_type(kind):
        raise BadRequest(f"`{kind[:80]}` is no resource type.", param="type")
    query = page.request.GET.get("query", "")
    return redirect(
        page.url("resources", kind) + ("?" + urlencode({"query": query}) if query else "")
    )


@studio_page("records", needs="record.read")
def find_reference(page: Page) -> HttpResponse:
    """Go to the resource that a reference such as `Observation/x/_history/2` names."""
    parts = page.request.GET.get("reference", "").split("/")
    if len(parts) < 2 or not all(parts[:2]):
        return page.redirect("records")
    version = f"?version={parts[3]}" if len(parts) == 4 else ""
    return redirect(page.url("resource", parts[0], parts[1]) + version)


@studio_page("records", needs="record.read")
def resources(page: Page, resource_type: str) -> HttpResponse:
    """Search any resource type with a FHIR query."""
    query = page.request.GET.get("query", "").strip().lstrip("?")
    asked = page.request.GET.get("page") or "&".join(filter(None, [query, f"_count={COUNT}"]))
    context: dict[str, object] = {
        "resource_type": resource_type,
        "resource_types": resource_types(),
        "query": query,
    }
    try:
        found = search.search(resource_type=resource_type, query=asked, now=page.now, strict=True)
    except BadRequest as error:
        context["problem"] = error.message
        return page.render("studio/records/resources.html", context, status=400)
    link = "?" + urlencode({"query": query, "page": found.next_query}) if found.next_query else ""
    context |= {"rows": [row_of(s) for s in found.entries], "total": found.total, "next_url": link}
    return page.render("studio/records/resources.html", context)


@studio_page("records", needs="record.read")
def resource(page: Page, resource_type: str, resource_id: str) -> HttpResponse:
    """Show one resource, at a version when the URL names one."""
    version = number_of(page.request.GET.get("version", ""))
    entries = store.history(resource_type=resource_type, id=resource_id, count=50).entries
    if version is not None:
        stored = store.vread(resource_type=resource_type, id=resource_id, version=version)
    else:
        stored = store.read(resource_type=resource_type, id=resource_id)
    context: dict[str, object] = {
        "stored": stored,
        "resource": stored.resource,
        "title": clinical.title_of(stored.resource),
        "versions": [entry.version for entry in entries if not entry.deleted],
        "shown_version": stored.version,
        "patient_id": clinical.patient_id_of(stored.resource),
        "tone": tone_of(clinical.status_of(stored.resource)),
    }
    return page.render("studio/records/resource.html", context)
