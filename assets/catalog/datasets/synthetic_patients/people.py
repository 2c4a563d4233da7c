"""Who: clinics, payers, clinicians, and patients with address, phone, coverage and allergies."""

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from assets.sdk import Json, Resource

from .building import RECORD_NUMBERS, RXNORM, SNOMED, Chart, Code, hl7, reference
from .names import FAMILY, FEMALE, LANGUAGES, MALE, STREETS, TOWNS

CLINICS = ("Riverside Family Practice", "Harbor Internal Medicine", "Oak Hill Women's Health")
PAYERS = (("Bay State Health Plan", 45), ("Commonwealth Care", 25), ("Medicare", 0), ("Cobalt", 30))
DOCTORS = (
    ("Amara", "Okafor", "female"),
    ("David", "Sullivan", "male"),
    ("Priya", "Patel", "female"),
    ("Luis", "Rivera", "male"),
    ("Hannah", "Kim", "female"),
    ("Thomas", "Haddad", "male"),
)
ALLERGIES = (
    (Code(RXNORM, "7980", "Penicillin G"), "medication", "Urticaria", "126485001"),
    (Code(RXNORM, "10180", "Sulfamethoxazole"), "medication", "Eruption of skin", "271807003"),
    (Code(SNOMED, "762952008", "Peanut"), "food", "Urticaria", "126485001"),
)
MEDICARE_AGE = 65


@dataclass(frozen=True, slots=True)
class Clinic:
    """The organizations and clinicians that all patients share."""

    clinics: tuple[Resource, ...]
    payers: tuple[Resource, ...]
    laboratory: Resource
    doctors: tuple[Resource, ...]

    @property
    def resources(self) -> list[Resource]:
        """All of them, organizations first."""
        return [*self.clinics, *self.payers, self.laboratory, *self.doctors]


def build_clinic() -> Clinic:
    """Return the fixed organizations and clinicians."""
    clinics = tuple(
        _organization(f"syn-clinic-{n}", name, "prov", "Healthcare Provider")
        for n, name in enumerate(CLINICS, 1)
    )
    payers = tuple(
        _organization(f"syn-payer-{n}", name, "pay", "Payer")
        for n, (name, _) in enumerate(PAYERS, 1)
    )
    laboratory = _organization("syn-lab", "Back Bay Laboratory", "prov", "Healthcare Provider")
    doctors = tuple(_practitioner(n, *doctor) for n, doctor in enumerate(DOCTORS, 1))
    return Clinic(clinics, payers, laboratory, doctors)


def build_patient(random: Random, number: int, as_of: date) -> Resource:
    """Return a patient; ages follow a primary-care panel, a little over half are women."""
    gender = "female" if random.random() < 0.58 else "male"
    age = random.choices(
        [random.randint(2, 17), random.randint(18, 39), random.randint(40, 64),
         random.randint(65, 94)],
        weights=[12, 33, 32, 23],
    )[0]  # fmt: skip
    born = as_of - timedelta(days=int(age * 365.25) + random.randint(0, 364))
    given = random.choice(FEMALE if gender == "female" else MALE)
    middle = random.choice("ABCDEFGHJKLMNPRSTW")
    return patient(
        f"syn-{number:04d}", given, random.choice(FAMILY), gender, born, random, middle=middle
    )


def patient(
    id: str,
    given: str,
    family: str,
    gender: str,
    born: date,
    random: Random,
    *,
    middle: str | None = None,
    record_number: str | None = None,
) -> Resource:
    """Return a Patient with record number, address and phone."""
    town, zip_code = random.choice(TOWNS)
    language = random.choices(LANGUAGES, weights=[row[2] for row in LANGUAGES])[0]
    number = record_number or f"SYN{random.randint(0, 99_999_999):08d}"
    return {
        "resourceType": "Patient",
        "id": id,
        "identifier": [
            {
                "use": "usual",
                "type": hl7("v2-0203", "MR", "Medical record number"),
                "system": RECORD_NUMBERS,
                "value": number,
            }
        ],
        "active": True,
        "name": [
            {"use": "official", "family": family, "given": [given, *([middle] if middle else [])]}
        ],
        "telecom": [
            {"system": "phone", "value": f"617-555-01{random.randint(0, 99):02d}", "use": "mobile"}
        ],
        "gender": gender,
        "birthDate": born.isoformat(),
        "address": [
            {
                "use": "home",
                "line": [f"{random.randint(1, 480)} {random.choice(STREETS)}"],
                "city": town,
                "state": "MA",
                "postalCode": zip_code,
                "country": "US",
            }
        ],
        "communication": [
            {
                "language": {
                    "coding": [
                        {"system": "urn:ietf:bcp:47", "code": language[0], "display": language[1]}
                    ]
                },
                "preferred": True,
            }
        ],
    }


def add_coverage(chart: Chart, clinic: Clinic, random: Random, as_of: date) -> None:
    """Add the coverage: Medicare from 65, another payer before."""
    person = chart.patient
    born = date.fromisoformat(person["birthDate"])
    is_senior = (as_of - born).days >= MEDICARE_AGE * 365.25
    if is_senior:
        payer, member = clinic.payers[2], f"1EG4-TE5-MK{random.randint(10, 99)}"
    else:
        payer = random.choices(clinic.payers, weights=[weight for _, weight in PAYERS])[0]
        member = f"{random.randint(100_000_000, 999_999_999)}"
    chart.add(
        "Coverage",
        "cov",
        {
            "status": "active",
            "type": hl7("v3-ActCode", *_coverage_type(is_senior)),
            "subscriber": chart.subject,
            "subscriberId": member,
            "beneficiary": chart.subject,
            "relationship": hl7("subscriber-relationship", "self", "Self"),
            "period": {"start": f"{as_of.year}-01-01", "end": f"{as_of.year}-12-31"},
            "payor": [reference(payer)],
        },
    )


def add_allergy(chart: Chart, random: Random, as_of: date) -> None:
    """Add an allergy to one patient in five."""
    if random.random() >= 0.2:
        return
    code, category, reaction, reaction_code = random.choice(ALLERGIES)
    born = date.fromisoformat(chart.patient["birthDate"])
    recorded = born + timedelta(days=random.randint(200, max(201, (as_of - born).days - 30)))
    chart.add(
        "AllergyIntolerance",
        "alg",
        {
            "clinicalStatus": hl7("allergyintolerance-clinical", "active", "Active"),
            "verificationStatus": hl7("allergyintolerance-verification", "confirmed", "Confirmed"),
            "type": "allergy",
            "category": [category],
            "criticality": "low",
            "code": code.concept(),
            "patient": chart.subject,
            "recordedDate": recorded.isoformat(),
            "reaction": [{"manifestation": [Code(SNOMED, reaction_code, reaction).concept()]}],
        },
    )


def _coverage_type(is_senior: bool) -> tuple[str, str]:
    return ("RETIRE", "retiree health program") if is_senior else ("EHCPOL", "extended healthcare")


def _organization(id: str, name: str, type_: str, display: str) -> Resource:
    return {
        "resourceType": "Organization",
        "id": id,
        "active": True,
        "type": [hl7("organization-type", type_, display)],
        "name": name,
    }


def _practitioner(number: int, given: str, family: str, gender: str) -> Resource:
    name: Json = {"use": "official", "family": family, "given": [given], "prefix": ["Dr."]}
    return {
        "resourceType": "Practitioner",
        "id": f"syn-dr-{number}",
        "identifier": [
            {"system": "https://synthetic.healthcloud.dev/npi", "value": f"99900000{number:02d}"}
        ],
        "active": True,
        "name": [name],
        "gender": gender,
    }
