"""Load the terminology that urinary screening uses: ValueSet and CodeSystem resources."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from assets.sdk import Context, Dataset, Json, Resource, Result, Write

BASE = "https://healthcloud.dev/fhir"
VERSION = "1.0.0"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
LOINC_NOTICE = (
    "This material contains content from LOINC (http://loinc.org). LOINC is copyright Regenstrief "
    "Institute, Inc. and the LOINC Committee, and is available at no cost under the license at "
    "http://loinc.org/license."
)
SNOMED_NOTICE = (
    "This material includes SNOMED Clinical Terms (SNOMED CT), used by permission of SNOMED "
    "International. Use requires a license in member countries."
)


class Term(NamedTuple):
    """A code with its name."""

    code: str
    display: str


FIELD = "Urine sediment by Microscopy high power field"
DIPSTICK = (
    Term("5799-2", "Leukocyte esterase [Presence] in Urine by Test strip"),
    Term("60026-2", "Leukocyte esterase [Presence] in Urine by Automated test strip"),
    Term("5802-4", "Nitrite [Presence] in Urine by Test strip"),
    Term("50558-6", "Nitrite [Presence] in Urine by Automated test strip"),
    Term("5794-3", "Hemoglobin [Presence] in Urine by Test strip"),
    Term("57751-0", "Hemoglobin [Presence] in Urine by Automated test strip"),
    Term("20454-5", "Protein [Presence] in Urine by Test strip"),
    Term("25428-4", "Glucose [Presence] in Urine by Test strip"),
    Term("2514-8", "Ketones [Presence] in Urine by Test strip"),
    Term("5811-5", "Specific gravity of Urine by Test strip"),
    Term("5803-2", "pH of Urine by Test strip"),
)
MICROSCOPY = (
    Term("5821-4", f"Leukocytes [#/area] in {FIELD}"),
    Term("13945-1", f"Erythrocytes [#/area] in {FIELD}"),
    Term("5787-7", f"Epithelial cells [#/area] in {FIELD}"),
    Term("25145-4", "Bacteria [Presence] in Urine sediment by Light microscopy"),
)
PANELS = (
    Term("24356-8", "Urinalysis complete panel - Urine"),
    Term("24357-6", "Urinalysis macro (dipstick) panel - Urine"),
    Term("50556-0", "Urinalysis dipstick panel - Urine by Automated test strip"),
)
CULTURE = (Term("630-4", "Bacteria identified in Urine by Culture"),)
SYMPTOMS = (
    Term("49650001", "Dysuria"),
    Term("162116003", "Increased frequency of urination"),
    Term("75088002", "Urgent desire to urinate"),
    Term("139394000", "Nocturia"),
    Term("162053006", "Suprapubic pain"),
    Term("34436003", "Blood in urine"),
    Term("197941005", "Frank hematuria"),
    Term("247355005", "Flank pain"),
    Term("102830001", "Renal angle tenderness"),
    Term("386661006", "Fever"),
)
ANSWERS = (
    Term("10828004", "Positive"),
    Term("260385009", "Negative"),
    Term("260405006", "Trace"),
    Term("260373001", "Detected"),
    Term("260415000", "Not detected"),
)
LEVELS = (
    Term("likely", "Urinary tract infection likely"),
    Term("possible", "Urinary tract infection possible"),
    Term("unlikely", "Urinary tract infection unlikely"),
    Term("asymptomatic_bacteriuria", "Asymptomatic bacteriuria"),
    Term("contaminated", "Specimen contaminated"),
    Term("insufficient_data", "Insufficient data"),
)


class UrinalysisCodes(Dataset):
    """Loads the terminology in one batch, with stable ids."""

    def load(self, context: Context, input: Json) -> Iterator[Result]:
        """Yield one batch of upserts."""
        resources = terminology()
        context.log("terminology generated", resources=len(resources))
        yield Result(
            output={"resources": len(resources)},
            resources=[Write("upsert", resource) for resource in resources],
        )


def terminology() -> list[Resource]:
    """Return the value sets and the code system."""
    return [
        _value_set("urinalysis-dipstick", "Urine dipstick tests", LOINC, DIPSTICK),
        _value_set("urinalysis-microscopy", "Urine microscopy tests", LOINC, MICROSCOPY),
        _value_set("urinalysis-panels", "Urinalysis panels", LOINC, PANELS),
        _value_set("urine-culture", "Urine cultures", LOINC, CULTURE),
        _value_set("urinary-symptoms", "Urinary symptoms", SNOMED, SYMPTOMS),
        _value_set("presence-answers", "Answers of presence tests", SNOMED, ANSWERS),
        _code_system("screening-level", "Screening levels", LEVELS),
        _value_set(
            "screening-levels", "Screening levels", f"{BASE}/CodeSystem/screening-level", LEVELS
        ),
    ]


def _value_set(id: str, title: str, system: str, terms: Sequence[Term]) -> Resource:
    notice = {LOINC: LOINC_NOTICE, SNOMED: SNOMED_NOTICE}.get(system)
    concepts = [term._asdict() for term in terms]
    resource = _canonical("ValueSet", id, title)
    if notice is not None:
        resource["copyright"] = notice
    resource["compose"] = {"include": [{"system": system, "concept": concepts}]}
    return resource


def _code_system(id: str, title: str, terms: Sequence[Term]) -> Resource:
    return _canonical("CodeSystem", id, title) | {
        "caseSensitive": True,
        "content": "complete",
        "count": len(terms),
        "valueSet": f"{BASE}/ValueSet/{id}s",
        "concept": [term._asdict() for term in terms],
    }


def _canonical(resource_type: str, id: str, title: str) -> Resource:
    return {
        "resourceType": resource_type,
        "id": id,
        "url": f"{BASE}/{resource_type}/{id}",
        "version": VERSION,
        "name": "".join(word.capitalize() for word in id.split("-")),
        "title": title,
        "status": "active",
        "experimental": False,
        "publisher": "HealthCloud",
    }
