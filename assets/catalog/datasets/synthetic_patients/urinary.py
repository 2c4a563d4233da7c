"""Urinary stories: what the patient says, what the strip shows, what grows. They agree."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from assets.sdk import Resource

from .building import ICD10, LOINC, SNOMED, Chart, Code, instant, quantity, reference
from .chronic import LAB, add_vitals

VISIT = Code(SNOMED, "185345009", "Encounter for symptom")
SYMPTOMS: Mapping[str, tuple[Code, Code]] = {
    "dysuria": (Code(SNOMED, "49650001", "Dysuria"), Code(ICD10, "R30.0", "Dysuria")),
    "frequency": (
        Code(SNOMED, "162116003", "Increased frequency of urination"),
        Code(ICD10, "R35.0", "Frequency of micturition"),
    ),
    "urgency": (
        Code(SNOMED, "75088002", "Urgent desire to urinate"),
        Code(ICD10, "R39.15", "Urgency of urination"),
    ),
    "flank_pain": (
        Code(SNOMED, "247355005", "Flank pain"),
        Code(ICD10, "R10.9", "Unspecified abdominal pain"),
    ),
}
PREGNANCY = Code(SNOMED, "77386006", "Pregnant")
URINARY_SYMPTOMS = Code(SNOMED, "249274008", "Urinary symptoms")
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
UA_PANEL = Code(LOINC, "24356-8", "Urinalysis complete panel - Urine")
CULTURE = Code(LOINC, "630-4", "Bacteria identified in Urine by Culture")
STRIP = {
    "leukocyte_esterase": Code(
        LOINC, "5799-2", "Leukocyte esterase [Presence] in Urine by Test strip"
    ),
    "nitrite": Code(LOINC, "5802-4", "Nitrite [Presence] in Urine by Test strip"),
    "blood": Code(LOINC, "5794-3", "Hemoglobin [Presence] in Urine by Test strip"),
    "protein": Code(LOINC, "20454-5", "Protein [Presence] in Urine by Test strip"),
    "glucose": Code(LOINC, "25428-4", "Glucose [Presence] in Urine by Test strip"),
    "ketones": Code(LOINC, "2514-8", "Ketones [Presence] in Urine by Test strip"),
}
FIELD = "Urine sediment by Microscopy high power field"
SEDIMENT = {
    "wbc": Code(LOINC, "5821-4", f"Leukocytes [#/area] in {FIELD}"),
    "rbc": Code(LOINC, "13945-1", f"Erythrocytes [#/area] in {FIELD}"),
    "epithelial": Code(LOINC, "5787-7", f"Epithelial cells [#/area] in {FIELD}"),
}
ECOLI = "Greater than 100,000 colony forming units per mL Escherichia coli"
MIXED = "Mixed urogenital flora, three or more organisms; suggest recollection"
KLEBSIELLA = "Greater than 100,000 colony forming units per mL Klebsiella pneumoniae"


@dataclass(frozen=True, slots=True)
class Story:
    """One urinary complaint. `strip` is nitrite, leukocyte esterase, blood; empty is no test."""

    name: str
    symptoms: tuple[str, ...] = ()
    strip: tuple[str, str, str] | None = None
    culture: str | None = None
    temperature: float | None = None
    epithelial: int = 2
    denies: bool = False
    pregnant: bool = False


CYSTITIS = Story("cystitis", ("dysuria", "frequency"), ("POSITIVE", "3+", "1+"))
STORIES: Mapping[str, Story] = {
    story.name: story
    for story in (
        CYSTITIS,
        Story("cystitis_cultured", ("dysuria", "urgency"), ("POSITIVE", "2+", "1+"), ECOLI),
        Story("nitrite_alone", ("frequency",), ("POSITIVE", "NEGATIVE", "NEGATIVE")),
        Story("leukocytes_only", ("dysuria",), ("NEGATIVE", "1+", "NEGATIVE")),
        Story("irritation", ("dysuria",), ("NEGATIVE", "NEGATIVE", "NEGATIVE")),
        Story("contaminated", ("frequency",), ("NEGATIVE", "2+", "NEGATIVE"), None, None, 14),
        Story("mixed_growth", ("urgency",), ("NEGATIVE", "1+", "TRACE"), MIXED),
        Story("bacteriuria", (), ("POSITIVE", "2+", "NEGATIVE"), KLEBSIELLA, denies=True),
        Story("pyelonephritis", ("dysuria", "flank_pain"), ("POSITIVE", "3+", "2+"), None, 39.1),
        Story("pregnancy", ("dysuria",), ("POSITIVE", "2+", "NEGATIVE"), pregnant=True),
        Story("untested", ("dysuria", "urgency")),
        Story("well", (), ("NEGATIVE", "NEGATIVE", "NEGATIVE")),
    )
}


@dataclass(slots=True)
class _Sample:
    """A urine sample under examination."""

    chart: Chart
    random: Random
    at: datetime
    visit: Resource
    specimen: Resource
    results: list[Resource] = field(default_factory=list)

    def add(self, code: Code, value: Mapping[str, object], **more: object) -> None:
        """Add a result."""
        linked = {"specimen": reference(self.specimen), **more}
        self.results.append(
            self.chart.observation(
                code, value, at=self.at, category=LAB, encounter=self.visit, **linked
            )
        )


def choose_story(random: Random, gender: str, age: int) -> Story | None:
    """Return the story of a patient, or None; plausible for sex and age."""
    if age < 18:
        weights = {"irritation": 4, "untested": 2, "": 94}
    elif gender == "male":
        weights = {"cystitis": 3, "leukocytes_only": 3, "well": 10, "": 84}
    else:
        weights = {"cystitis": 10, "cystitis_cultured": 4, "nitrite_alone": 4}
        weights |= {"leukocytes_only": 6, "irritation": 6, "contaminated": 3, "mixed_growth": 2}
        weights |= {"pyelonephritis": 2, "untested": 4, "well": 14, "": 45}
        weights["bacteriuria" if age >= 65 else "pregnancy" if age < 42 else ""] = 6
    name = random.choices(list(weights), weights=list(weights.values()))[0]
    return STORIES.get(name)


def tell(chart: Chart, random: Random, story: Story, at: datetime) -> None:
    """Add the visit of a story: reason, symptoms, vital signs, urinalysis, culture."""
    reasons = [SYMPTOMS[name] for name in story.symptoms]
    visit = chart.encounter(at, 20, VISIT, reasons[0][0] if reasons else None)
    onset = (at - timedelta(days=random.randint(1, 3))).date()
    for code, icd in reasons:
        chart.condition(
            code, onset=onset, category="encounter-diagnosis", more=[icd], encounter=visit
        )
    if story.pregnant:
        chart.condition(PREGNANCY, onset=(at - timedelta(days=random.randint(60, 150))).date())
    add_vitals(chart, random, at, visit, temperature=story.temperature)
    if story.denies:
        chart.observation(
            URINARY_SYMPTOMS, {"valueBoolean": False}, at=at, category="survey", encounter=visit
        )
    if story.strip is not None:
        _examine(chart, random, story, visit, at + timedelta(minutes=15))


def _examine(chart: Chart, random: Random, story: Story, visit: Resource, at: datetime) -> None:
    specimen = chart.add(
        "Specimen",
        "spec",
        {
            "status": "available",
            "type": Code(SNOMED, "122575003", "Urine specimen").concept(),
            "subject": chart.subject,
            "receivedTime": instant(at),
            "collection": {"collectedDateTime": instant(at)},
        },
    )
    sample = _Sample(chart, random, at, visit, specimen)
    _add_strip(sample, story)
    _add_sediment(sample, story)
    chart.report(UA_PANEL, sample.results, at=at, encounter=visit, specimen=specimen)
    if story.culture is not None:
        grown = _Sample(chart, random, at + timedelta(hours=20), visit, specimen)
        grown.add(CULTURE, {"valueString": story.culture})
        chart.report(
            CULTURE,
            grown.results,
            at=grown.at,
            encounter=visit,
            specimen=specimen,
            category=("MB", "Microbiology"),
        )


def _add_strip(sample: _Sample, story: Story) -> None:
    nitrite, esterase, blood = story.strip or ("NEGATIVE",) * 3
    has_diabetes = "44054006" in _problem_codes(sample.chart.resources)
    shown = {
        "leukocyte_esterase": esterase,
        "nitrite": nitrite,
        "blood": blood,
        "protein": "TRACE" if esterase == "3+" else "NEGATIVE",
        "glucose": "1+" if has_diabetes else "NEGATIVE",
        "ketones": "NEGATIVE",
    }
    for name, value in shown.items():
        code = ("N", "Normal") if value == "NEGATIVE" else ("A", "Abnormal")
        sample.add(
            STRIP[name],
            {"valueString": value},
            interpretation=[Code(INTERPRETATION, *code).concept()],
            referenceRange=[{"text": "NEGATIVE"}],
        )
    gravity = round(sample.random.uniform(1.008, 1.026), 3)
    sample.add(
        Code(LOINC, "5811-5", "Specific gravity of Urine by Test strip"),
        quantity(gravity, "{ratio}", "1"),
    )
    acidity = sample.random.choice([5.5, 6.0, 6.5, 7.0])
    sample.add(Code(LOINC, "5803-2", "pH of Urine by Test strip"), quantity(acidity, "[pH]"))


def _add_sediment(sample: _Sample, story: Story) -> None:
    _, esterase, blood = story.strip or ("NEGATIVE",) * 3
    random = sample.random
    is_inflamed = esterase not in {"NEGATIVE", "TRACE"}
    counts = {
        "wbc": random.randint(15, 60) if is_inflamed else random.randint(0, 4),
        "rbc": random.randint(5, 20)
        if blood not in {"NEGATIVE", "TRACE"}
        else random.randint(0, 2),
        "epithelial": story.epithelial,
    }
    for name, count in counts.items():
        sample.add(
            SEDIMENT[name],
            quantity(count, "/HPF", "/[HPF]"),
            referenceRange=[{"text": "0-5 /HPF"}],
            interpretation=[Code(INTERPRETATION, *_judged(count)).concept()],
        )


def _judged(count: int) -> tuple[str, str]:
    return ("H", "High") if count > 5 else ("N", "Normal")


def _problem_codes(resources: Iterable[Resource]) -> set[str]:
    return {
        coding["code"]
        for resource in resources
        if resource["resourceType"] == "Condition"
        for coding in resource["code"]["coding"]
    }
