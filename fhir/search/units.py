"""UCUM units in canonical form, so that 170.2 cm is found by 1.702 m. https://ucum.org/ucum. Pure.

The atoms and prefixes are those of `ucum-essence.xml`, which the package ucumvert carries; only
that file is read. Importing the package itself would take seconds of a request.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

UCUM: Final = "http://unitsofmeasure.org"
MAX_LENGTH: Final = 128
MAX_EXPONENT: Final = 40
# What a unit that stands alone adds to its value before the factor leads to kelvin.
_OFFSETS: Final = {
    "Cel": (Fraction("273.15"), Fraction(1)),
    "[degF]": (Fraction("459.67"), Fraction(5, 9)),
    "[degRe]": (Fraction("218.52"), Fraction(5, 4)),
}
# UCUM counts these as a number or writes one unit twice; here a mole is no bare number.
_OWN_BASES: Final = {"mol": "mol", "[IU]": "[iU]"}
_COMPONENT: Final = re.compile(
    r"(?P<atom>10[*^]|(?:[^\s./(){}\[\]\d+\-]|\[[^\]]*\])+)(?P<exponent>[+-]?\d+)?"
    r"|(?P<factor>\d+)|(?P<open>\()"
)
_ANNOTATION: Final = re.compile(r"\{[^{}]*\}")


class UnitError(ValueError):
    """The text is no UCUM unit, or one whose values no factor converts."""


class NoFactorError(UnitError):
    """The text is a UCUM unit, and no factor converts its values."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit measures, and how its values become values in base units.

    `dimension` is equal for units that convert into each other (`g.m-3`).
    """

    dimension: str
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def convert(self, value: Decimal) -> float:
        """Return the value in base units."""
        return float((Fraction(value) + self.offset) * self.factor)


@dataclass(frozen=True, slots=True)
class _Term:
    factor: Fraction
    powers: tuple[tuple[str, int], ...]

    def times(self, other: "_Term", exponent: int = 1) -> "_Term":
        powers = dict(self.powers)
        for base, power in other.powers:
            powers[base] = powers.get(base, 0) + power * exponent
        kept = tuple(sorted((base, power) for base, power in powers.items() if power))
        return _Term(self.factor * other.factor**exponent, kept)


_ONE: Final = _Term(Fraction(1), ())


@lru_cache(maxsize=8192)
def canonical_unit(code: str) -> Unit:
    """Return the canonical form of a UCUM code.

    What can't be converted stands for itself: arbitrary and logarithmic units, bare annotations
    such as `{score}` (by UCUM all of them are 1, but a score is no ratio), and what is no UCUM.
    """
    if code in _OFFSETS:
        offset, factor = _OFFSETS[code]
        return Unit("K1", factor, offset)
    try:
        term = _parse(code)
        float(term.factor)
    except (UnitError, OverflowError, ZeroDivisionError):
        return Unit(f"={code}")
    return Unit(".".join(f"{base}{power}" for base, power in term.powers) or "1", term.factor)


@lru_cache(maxsize=8192)
def is_ucum(code: str) -> bool:
    """Say whether a text follows UCUM's grammar with UCUM's atoms and prefixes."""
    try:
        _parse(code)
    except NoFactorError:
        return True
    except (UnitError, ZeroDivisionError):
        return False
    return code.isascii()


@lru_cache(maxsize=16384)
def canonical_value(value: Decimal, code: str) -> float:
    """Return a value in the base units of its unit."""
    try:
        return canonical_unit(code).convert(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _parse(code: str) -> _Term:
    if code and not _ANNOTATION.sub("", code):
        raise NoFactorError(code)
    if len(code) > MAX_LENGTH:
        raise UnitError(code)
    term, at = _term(code, 0)
    if at != len(code):
        raise UnitError(code)
    return term


def _term(code: str, at: int) -> tuple[_Term, int]:
    """Return the term that begins at a position, and where it ends."""
    result = _ONE
    exponent = 1
    if code[at : at + 1] == "/":
        exponent, at = -1, at + 1
    while True:
        component, at = _component(code, at)
        result = result.times(component, exponent)
        if code[at : at + 1] not in {".", "/"}:
            return result, at
        exponent = 1 if code[at] == "." else -1
        at += 1


def _component(code: str, at: int) -> tuple[_Term, int]:
    note = _ANNOTATION.match(code, at)
    if note:
        return _ONE, note.end()
    found = _COMPONENT.match(code, at)
    if found is None:
        raise UnitError(code)
    at = found.end()
    if found["open"]:
        term, at = _term(code, at)
        if code[at : at + 1] != ")":
            raise UnitError(code)
        at += 1
    elif found["factor"]:
        term = _Term(Fraction(int(found["factor"])), ())
    else:
        term = _power(found["atom"], int(found["exponent"] or 1))
    note = _ANNOTATION.match(code, at)
    return term, note.end() if note else at


def _power(symbol: str, exponent: int) -> _Term:
    if abs(exponent) > MAX_EXPONENT:
        raise NoFactorError(symbol)
    return _ONE.times(_simple(symbol), exponent)


@lru_cache(maxsize=4096)
def _simple(symbol: str) -> _Term:
    """Return an atom, or a prefix and a metric atom."""
    prefixes, atoms = _essence()
    if symbol in atoms:
        return _atom(symbol)
    for length in (1, 2):
        prefix, atom = symbol[:length], symbol[length:]
        if prefix in prefixes and atom in atoms and atoms[atom].is_metric:
            return _Term(prefixes[prefix], ()).times(_atom(atom))
    raise UnitError(symbol)


@lru_cache(maxsize=1024)
def _atom(symbol: str) -> _Term:
    atom = _essence()[1][symbol]
    base = _OWN_BASES.get(symbol, symbol if atom.is_base else "")
    if base:
        return _Term(Fraction(1), ((base, 1),))
    if atom.is_special:
        raise NoFactorError(symbol)
    return _Term(atom.value, ()).times(_parse(atom.unit))


@dataclass(frozen=True, slots=True)
class _Atom:
    is_metric: bool
    is_base: bool
    is_special: bool
    value: Fraction
    unit: str


@cache
def _essence() -> tuple[dict[str, Fraction], dict[str, _Atom]]:
    """Return prefixes and atoms; arbitrary units are bases of their own."""
    root = ElementTree.parse(_file()).getroot()  # noqa: S314  # a file of an installed package
    space = {"u": root.tag.partition("}")[0].strip("{")}
    prefixes = {
        node.attrib["Code"]: Fraction(node.find("u:value", space).attrib["value"])  # type: ignore[union-attr]  # always there
        for node in root.findall("u:prefix", space)
    }
    atoms = {
        node.attrib["Code"]: _Atom(True, True, False, Fraction(1), "")
        for node in root.findall("u:base-unit", space)
    }
    for node in root.findall("u:unit", space):
        value = node.find("u:value", space)
        facts = value.attrib if value is not None else {}
        atoms[node.attrib["Code"]] = _Atom(
            is_metric=node.get("isMetric") == "yes",
            is_base=node.get("isArbitrary") == "yes",
            is_special=node.get("isSpecial") == "yes",
            value=Fraction(facts.get("value", "1")),
            unit=facts.get("Unit", "1"),
        )
    return prefixes, atoms


def _file() -> Path:
    spec = find_spec("ucumvert")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise RuntimeError("The package ucumvert, which carries UCUM's units, is not installed.")
    return Path(places[0]) / "vendor" / "ucum-essence.xml"
