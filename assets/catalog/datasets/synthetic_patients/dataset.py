"""Generate and load synthetic patients: the same seed and day give the same resources."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from random import Random

from assets.sdk import Context, Dataset, Json, Resource, Result, Write

from .building import Chart
from .chronic import add_history
from .people import Clinic, add_allergy, add_coverage, build_clinic, build_patient, patient
from .showcase import Showcase, showcase
from .urinary import choose_story, tell

BATCH = 10
CHART_TIME = "T{hour:02d}:10:00+00:00"


class SyntheticPatients(Dataset):
    """Loads clinics, clinicians and patients, ten patients a batch, with stable ids."""

    def load(self, context: Context, input: Json) -> Iterator[Result]:
        """Yield batches of upserts. `input.patients` and `input.seed` override the config."""
        count = int(input.get("patients") or context.config.get("patients", 120))
        seed = int(input.get("seed") or context.config.get("seed", 2026))
        loaded = 0
        written = 0
        for charts in batches(seed=seed, count=count, as_of=context.now.date()):
            resources = [resource for chart in charts for resource in chart]
            loaded += sum(chart[0]["resourceType"] == "Patient" for chart in charts)
            written += len(resources)
            context.log("batch generated", patients=loaded, resources=written)
            yield Result(
                output={"patients": loaded, "resources": written, "seed": seed},
                resources=[Write("upsert", resource) for resource in resources],
            )


def batches(*, seed: int, count: int, as_of: date) -> Iterator[list[list[Resource]]]:
    """Yield the shared resources, then charts in batches; a chart begins with its Patient."""
    clinic = build_clinic()
    yield [clinic.resources]
    charts = [*(_showcase_chart(person, clinic, as_of) for person in showcase())]
    charts += [_chart(seed, n, clinic, as_of) for n in range(1, count - len(charts) + 1)]
    for start in range(0, len(charts), BATCH):
        yield charts[start : start + BATCH]


def _chart(seed: int, number: int, clinic: Clinic, as_of: date) -> list[Resource]:
    """Return one patient's resources; nothing depends on the other patients."""
    random = Random(f"{seed}:{number}")  # noqa: S311  reproducible, not secret
    chart = Chart(
        build_patient(random, number, as_of), random.choice(clinic.doctors),
        random.choice(clinic.clinics),
    )  # fmt: skip
    _add_background(chart, clinic, random, as_of)
    age = (as_of - date.fromisoformat(chart.patient["birthDate"])).days // 365.25
    story = choose_story(random, chart.patient["gender"], int(age))
    if story is not None:
        tell(chart, random, story, _visit_time(random, as_of))
    return chart.resources


def _showcase_chart(person: Showcase, clinic: Clinic, as_of: date) -> list[Resource]:
    random = Random(person.id)  # noqa: S311  reproducible, not secret
    resource = patient(
        person.id, person.given, person.family, person.gender, person.born, random,
        record_number=person.record_number,
    )  # fmt: skip
    chart = Chart(resource, clinic.doctors[0], clinic.clinics[0])
    _add_background(chart, clinic, random, as_of)
    tell(chart, random, person.story, _visit_time(random, as_of))
    return chart.resources


def _add_background(chart: Chart, clinic: Clinic, random: Random, as_of: date) -> None:
    chart.patient["generalPractitioner"] = [{"reference": f"Practitioner/{chart.doctor['id']}"}]
    chart.patient["managingOrganization"] = {"reference": f"Organization/{chart.clinic['id']}"}
    add_coverage(chart, clinic, random, as_of)
    add_allergy(chart, random, as_of)
    add_history(chart, random, as_of)


def _visit_time(random: Random, as_of: date) -> datetime:
    """Return a time in the office hours of one of the last days, so that nothing is to come."""
    day = as_of - timedelta(days=random.randint(2, 3))
    return datetime.fromisoformat(f"{day}{CHART_TIME.format(hour=random.randint(13, 20))}")
