"""Fixed patients for demonstrations: one at each level, and one whose results wait at Quest."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from .urinary import ECOLI, MIXED, Story


@dataclass(frozen=True, slots=True)
class Showcase:
    """A patient who is the same in every load, with the level that screening gives."""

    id: str
    given: str
    family: str
    gender: str
    born: date
    record_number: str
    story: Story
    level: str


NEGATIVE = ("NEGATIVE", "NEGATIVE", "NEGATIVE")

SHOWCASE = (
    # Her urinalysis waits in the Quest simulator: examples/quest_results.json. Until it is
    # retrieved she has symptoms and no test.
    Showcase(
        "pat_camila", "Camila", "Lopez", "female", date(1987, 9, 12), "203713",
        Story("waiting", ("dysuria", "frequency")), "insufficient_data",
    ),
    Showcase(
        "pat_123", "Jane", "Doe", "female", date(1970, 2, 14), "PAT123",
        Story("likely", ("dysuria", "urgency"), ("POSITIVE", "3+", "1+")), "likely",
    ),
    Showcase(
        "pat_elena", "Elena", "Rossi", "female", date(1995, 6, 3), "300104",
        Story("possible", ("dysuria",), ("NEGATIVE", "1+", "NEGATIVE")), "possible",
    ),
    Showcase(
        "pat_mei", "Mei", "Chen", "female", date(1981, 1, 27), "300105",
        Story("unlikely", ("frequency",), NEGATIVE), "unlikely",
    ),
    Showcase(
        "pat_ruth", "Ruth", "Sullivan", "female", date(1942, 11, 5), "300106",
        Story("silent", (), ("POSITIVE", "2+", "NEGATIVE"), ECOLI, denies=True),
        "asymptomatic_bacteriuria",
    ),
    Showcase(
        "pat_nora", "Nora", "Haddad", "female", date(1990, 4, 19), "300107",
        Story("mixed", ("urgency",), ("NEGATIVE", "1+", "TRACE"), MIXED), "contaminated",
    ),
    Showcase(
        "pat_grace", "Grace", "Okafor", "female", date(1976, 8, 30), "300108",
        Story("red_flag", ("dysuria", "flank_pain"), ("POSITIVE", "3+", "2+"), None, 39.2),
        "likely",
    ),
    Showcase(
        "pat_derrick", "Derrick", "Lin", "male", date(1973, 6, 3), "207757",
        Story("man", ("dysuria",), ("NEGATIVE", "2+", "NEGATIVE")), "possible",
    ),
)  # fmt: skip


def showcase() -> Iterator[Showcase]:
    """Yield the fixed patients."""
    yield from SHOWCASE
