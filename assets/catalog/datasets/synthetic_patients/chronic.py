"""The long-term record: problems that fit the age, their medication, their labs, vital signs."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random

from assets.sdk import Resource

from .building import ICD10, LOINC, RXNORM, SNOMED, UCUM, Chart, Code, quantity, reference

CHECK_UP = Code(SNOMED, "185349003", "Encounter for check up")
VITAL = "vital-signs"
LAB = "laboratory"


@dataclass(frozen=True, slots=True)
class Problem:
    """A chronic condition: codes, yearly odds by age, and what is taken for it."""

    code: Code
    icd: Code
    from_age: int
    odds_at_40: float
    odds_at_75: float
    drug: Code
    sig: str

    def odds(self, age: int) -> float:
        """Return the chance of having it at this age."""
        if age < self.from_age:
            return 0.0
        share = min(max((age - 40) / 35, -0.6), 1.0)
        return max(self.odds_at_40 + share * (self.odds_at_75 - self.odds_at_40), 0.01)


HYPERTENSION = Problem(
    Code(SNOMED, "38341003", "Hypertensive disorder"),
    Code(ICD10, "I10", "Essential (primary) hypertension"),
    25,
    0.22,
    0.62,
    Code(RXNORM, "314076", "lisinopril 10 MG Oral Tablet"),
    "Take 1 tablet by mouth once daily",
)
DIABETES = Problem(
    Code(SNOMED, "44054006", "Diabetes mellitus type 2"),
    Code(ICD10, "E11.9", "Type 2 diabetes mellitus without complications"),
    30,
    0.08,
    0.24,
    Code(RXNORM, "861007", "metformin hydrochloride 500 MG Oral Tablet"),
    "Take 1 tablet by mouth twice daily with meals",
)
PROBLEMS = (
    HYPERTENSION,
    DIABETES,
    Problem(
        Code(SNOMED, "55822004", "Hyperlipidemia"),
        Code(ICD10, "E78.5", "Hyperlipidemia, unspecified"),
        30,
        0.18,
        0.5,
        Code(RXNORM, "617310", "atorvastatin 20 MG Oral Tablet"),
        "Take 1 tablet by mouth once daily",
    ),
    Problem(
        Code(SNOMED, "35489007", "Depressive disorder"),
        Code(ICD10, "F32.A", "Depression, unspecified"),
        16,
        0.12,
        0.1,
        Code(RXNORM, "312941", "sertraline 50 MG Oral Tablet"),
        "Take 1 tablet by mouth once daily",
    ),
    Problem(
        Code(SNOMED, "235595009", "Gastroesophageal reflux disease"),
        Code(ICD10, "K21.9", "Gastro-esophageal reflux disease without esophagitis"),
        25,
        0.12,
        0.2,
        Code(RXNORM, "198051", "omeprazole 20 MG Delayed Release Oral Capsule"),
        "Take 1 capsule by mouth before breakfast",
    ),
)


def add_history(chart: Chart, random: Random, as_of: date) -> None:
    """Add a yearly check-up with vital signs, chronic problems, medication and their labs."""
    born = date.fromisoformat(chart.patient["birthDate"])
    age = _years(born, as_of)
    problems = [problem for problem in PROBLEMS if random.random() < problem.odds(age)]
    day = as_of - timedelta(days=random.randint(40, 340))
    visit_at = datetime.fromisoformat(f"{day}T{random.randint(13, 20):02d}:30:00+00:00")
    visit = chart.encounter(visit_at, 30, CHECK_UP, None)
    add_vitals(chart, random, visit_at, visit, has_hypertension=HYPERTENSION in problems)
    for problem in problems:
        _add_problem(chart, random, problem, visit, day=day, age=age)
    if age >= 18:
        _add_labs(chart, random, visit_at, visit, has_diabetes=DIABETES in problems)


def add_vitals(
    chart: Chart,
    random: Random,
    at: datetime,
    visit: Resource,
    *,
    has_hypertension: bool = False,
    temperature: float | None = None,
) -> None:
    """Add temperature, pulse, respirations, blood pressure, height, weight and BMI."""
    age = _years(date.fromisoformat(chart.patient["birthDate"]), at.date())
    is_adult = age >= 18
    is_female = chart.patient["gender"] == "female"
    systolic = round(random.gauss(134 if has_hypertension else 118 if is_adult else 104, 7))
    height = _height(random, age, is_female)
    bmi = max(random.gauss(26.5 if is_adult else 17.5, 3.2), 14)
    weight = round(bmi * (height / 100) ** 2, 1)
    celsius = round(random.gauss(36.7, 0.2), 1) if temperature is None else temperature
    rows = (
        ("8310-5", "Body temperature", celsius, "Cel", "Cel"),
        ("8867-4", "Heart rate", round(random.gauss(74, 8)), "/min", "/min"),
        ("9279-1", "Respiratory rate", random.randint(13, 18), "/min", "/min"),
        ("8302-2", "Body height", height, "cm", "cm"),
        ("29463-7", "Body weight", weight, "kg", "kg"),
        ("39156-5", "Body mass index (BMI) [Ratio]", _bmi(weight, height), "kg/m2", "kg/m2"),
    )
    for code, display, value, unit, ucum in rows:
        measured = quantity(value, unit, ucum)
        chart.observation(
            Code(LOINC, code, display), measured, at=at, category=VITAL, encounter=visit
        )
    _add_pressure(chart, at, visit, systolic, round(systolic * 0.64))


def _add_pressure(
    chart: Chart, at: datetime, visit: Resource, systolic: int, diastolic: int
) -> None:
    rows = (
        ("8480-6", "Systolic blood pressure", systolic),
        ("8462-4", "Diastolic blood pressure", diastolic),
    )
    parts = [
        {"code": Code(LOINC, code, display).concept(), **quantity(value, "mm[Hg]")}
        for code, display, value in rows
    ]
    panel = Code(LOINC, "85354-9", "Blood pressure panel with all children optional")
    chart.observation(panel, {"component": parts}, at=at, category=VITAL, encounter=visit)


def _add_problem(
    chart: Chart, random: Random, problem: Problem, visit: Resource, *, day: date, age: int
) -> None:
    years = random.randint(0, min(12, max(age - problem.from_age, 0)))
    onset = day - timedelta(days=int(years * 365.25) + random.randint(1, 300))
    condition = chart.condition(problem.code, onset=onset, more=[problem.icd])
    chart.add(
        "MedicationRequest",
        "med",
        {
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": problem.drug.concept(),
            "subject": chart.subject,
            "encounter": reference(visit),
            "authoredOn": visit["period"]["start"],
            "requester": reference(chart.doctor),
            "reasonReference": [reference(condition)],
            "dosageInstruction": [{"text": problem.sig}],
        },
    )


def _add_labs(
    chart: Chart, random: Random, at: datetime, visit: Resource, *, has_diabetes: bool
) -> None:
    glucose = round(random.gauss(148 if has_diabetes else 91, 22 if has_diabetes else 7))
    rows = [
        ("2345-7", "Glucose [Mass/volume] in Serum or Plasma", glucose, "mg/dL", (70, 99)),
        (
            "2160-0",
            "Creatinine [Mass/volume] in Serum or Plasma",
            round(max(random.gauss(0.9, 0.15), 0.5), 2),
            "mg/dL",
            (0.6, 1.3),
        ),
    ]
    if has_diabetes:
        a1c = round(max(random.gauss(7.4, 0.8), 6.5), 1)
        rows.append(("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", a1c, "%", (4, 5.6)))
    for code, display, value, unit, (low, high) in rows:
        chart.observation(
            Code(LOINC, code, display),
            quantity(value, unit),
            at=at,
            category=LAB,
            encounter=visit,
            referenceRange=[{"low": _bound(low, unit), "high": _bound(high, unit)}],
            interpretation=[_flag(value, low, high)],
        )


def _flag(value: float, low: float, high: float) -> dict[str, object]:
    code, display = (
        ("H", "High") if value > high else ("L", "Low") if value < low else ("N", "Normal")
    )
    system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
    return Code(system, code, display).concept()


def _bound(value: float, unit: str) -> dict[str, object]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def _bmi(weight: float, height: float) -> float:
    return round(weight / (height / 100) ** 2, 1)


def _height(random: Random, age: int, is_female: bool) -> float:
    if age < 18:
        return round(random.gauss(82 + 5.4 * age, 4), 1)
    return round(random.gauss(163 if is_female else 176, 6), 1)


def _years(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
