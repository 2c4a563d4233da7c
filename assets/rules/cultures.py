"""Urine cultures: colony count and number of species, from text, quantity or organism codes."""

import re
from collections.abc import Iterable
from decimal import Decimal

from assets.rules.intervals import INFINITY, Interval
from assets.rules.values import Element, number, number_in_text, texts

NO_GROWTH = re.compile(r"\bno (significant |bacterial |aerobic )*growth\b|\bsterile\b|\bnegative\b")
MIXED = re.compile(
    r"\b(mixed|multiple|numerous)\b.*\b(flora|organisms?|species|growth|types|bacteria\w*|morpho\w*)"
    r"|contaminat|(\b(three|3)\b|>= ?3|\bmore than (two|2)\b|> ?2) (or more )?(\w+ )?"
    r"(organisms|species|types)|\b(uro)?genital flora\b|\bskin flora\b"
)
SINGLE_GENERA = (
    "escherichia|e\\. ?coli|klebsiella|proteus|enterococcus|pseudomonas|enterobacter|citrobacter"
    "|serratia|morganella|providencia|acinetobacter|aerococcus|lactobacillus|corynebacterium"
    "|gardnerella|raoultella|salmonella|candida"
)
GENERA = re.compile(
    rf"\b({SINGLE_GENERA}|staphylococcus|staph|streptococcus|strep|group b)\b(?:[ .]+([a-z]+))?"
)
ALIASES = {"e. coli": "escherichia", "e.coli": "escherichia", "staph": "staphylococcus"}
ALIASES |= {"strep": "streptococcus", "group b": "streptococcus"}
COUNTED = frozenset({"staphylococcus", "streptococcus", "klebsiella", "enterococcus", "candida"})


def colony_count(cultures: Iterable[Element]) -> Interval | None:
    """Return CFU/mL over the results of one culture: the highest count that any of them states."""
    counts = [count for culture in cultures if (count := _count(culture)) is not None]
    if not counts:
        return None
    return Interval(max(c.low for c in counts), max(c.high for c in counts))


def species_count(cultures: Iterable[Element]) -> Interval | None:
    """Return how many species grew; a stated mixture counts as three or more."""
    organisms: set[str] = set()
    grown = sterile = False
    for culture in cultures:
        text = _text(culture)
        if MIXED.search(text):
            return Interval(Decimal(3), INFINITY)
        organisms |= _organisms(text)
        count = _count(culture)
        sterile = sterile or _is_sterile(text) or (count is not None and count.high == 0)
        grown = grown or (count is not None and count.low > 0)
    if organisms:
        return Interval.exactly(len(organisms))
    if grown:
        return Interval.exactly(1)
    return Interval.exactly(0) if sterile else None


def _count(culture: Element) -> Interval | None:
    if "valueQuantity" in culture:
        return number(culture, "{CFU}/mL")
    text = _text(culture)
    if _is_sterile(text):
        return Interval.exactly(0)
    return number_in_text(text) if re.search(r"\d", text) else None


def _is_sterile(text: str) -> bool:
    return NO_GROWTH.search(text) is not None and not _organisms(text)


def _organisms(text: str) -> set[str]:
    found = set()
    for genus, epithet in GENERA.findall(text):
        name = ALIASES.get(genus, genus)
        found.add(f"{name} {epithet}" if name in COUNTED else name)
    return found


def _text(culture: Element) -> str:
    parts = [culture.get("valueString"), *texts(culture.get("valueCodeableConcept"))]
    notes = [note.get("text") for note in culture.get("note") or []]
    said = [part for part in (*parts, *notes) if isinstance(part, str)]
    return " ".join(" ".join(said).lower().split())
