"""HL7 v2 messages that the simulated laboratory writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_ESCAPES = (("\\", "\\E\\"), ("|", "\\F\\"), ("^", "\\S\\"), ("&", "\\T\\"), ("~", "\\R\\"))
SEX = {"female": "F", "male": "M", "other": "O", "unknown": "U"}
PANELS: Mapping[str, Sequence[Mapping[str, str]]] = {
    "uti_positive": (
        {"code": "5799-2", "local": "50055000", "name": "LEUKOCYTE ESTERASE", "value": "3+"},
        {"code": "5802-4", "local": "50055100", "name": "NITRITE", "value": "POSITIVE"},
        {"code": "5794-3", "local": "50055150", "name": "OCCULT BLOOD", "value": "2+"},
        {
            "code": "5821-4",
            "local": "50055200",
            "name": "WBC",
            "value": "40",
            "type": "NM",
            "units": "/HPF^^UCUM",
            "range": "< OR = 5",
            "flag": "H",
        },
    ),
    "uti_negative": (
        {"code": "5799-2", "local": "50055000", "name": "LEUKOCYTE ESTERASE", "value": "NEGATIVE"},
        {"code": "5802-4", "local": "50055100", "name": "NITRITE", "value": "NEGATIVE"},
        {"code": "5794-3", "local": "50055150", "name": "OCCULT BLOOD", "value": "NEGATIVE"},
        {
            "code": "5821-4",
            "local": "50055200",
            "name": "WBC",
            "value": "0-5",
            "units": "/HPF^^UCUM",
            "range": "< OR = 5",
        },
    ),
    "culture_positive": (
        {
            "code": "630-4",
            "local": "86001",
            "name": "CULTURE, URINE, ROUTINE",
            "value": "Greater than 100,000 CFU/mL of Escherichia coli",
            "range": "NO GROWTH",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Whose result it is."""

    number: str
    family: str
    given: str
    birth_date: str
    gender: str = "unknown"


@dataclass(frozen=True, slots=True)
class Report:
    """A report to write; times are HL7 timestamps. `status` F P C X stands in OBR-25 and OBX-11."""

    control_id: str
    filler: str
    person: Person
    lines: Sequence[Mapping[str, str]]
    collected: str
    reported: str
    placer: str = ""
    status: str = "F"
    code: str = "5463^URINALYSIS, COMPLETE^L"
    account: str = ""
    notes: Sequence[str] = field(default_factory=tuple)
    pdf: str = ""


def write_oru(report: Report) -> str:
    """Return the ORU^R01 of a report, as Quest lays it out."""
    person, line = report.person, "|".join
    birth = person.birth_date.replace("-", "")
    name = f"{escape(person.family)}^{escape(person.given)}"
    number = f"{escape(person.number)}^^^{escape(report.account)}^MR"
    orderer = "1234567893^SMITH^JOHN^^^^^^NPI"
    placer = f"{escape(report.placer)}^{escape(report.account)}" if report.placer else ""
    filler = f"{escape(report.filler)}^MET"
    sex = SEX.get(person.gender, "U")
    sender = ["LAB", "MET", "HEALTHCLOUD", escape(report.account), report.reported, ""]
    version = ["T", "2.5.1", "", "", "AL", "NE"]
    ends = [report.reported, "", "", report.status]
    test = ["", "", report.collected, *([""] * 8), orderer, *([""] * 5)]
    segments = [
        line(["MSH", "^~\\&", *sender, "ORU^R01^ORU_R01", report.control_id, *version]),
        line(["PID", "1", "", number, "", name, "", birth, sex]),
        line(["PV1", "1", "O", "", "", "", "", orderer]),
        line(["ORC", "RE", placer, filler, *([""] * 8), orderer]),
        line(["OBR", "1", placer, filler, report.code, *test, *ends]),
    ]
    segments += [f"NTE|{n}|L|{escape(note)}" for n, note in enumerate(report.notes, 1)]
    segments += [_obx(n, item, report) for n, item in enumerate(report.lines, 1)]
    if report.pdf:
        field_5 = f"^AP^PDF^Base64^{report.pdf}"
        last = len(report.lines) + 1
        segments.append(f"OBX|{last}|ED|ClinicalPDFReport1^Clinical PDF Report^L||{field_5}||||||F")
    segments.append(_spm(report))
    return "\r".join(segments) + "\r"


def _obx(number: int, item: Mapping[str, str], report: Report) -> str:
    name = escape(item.get("name", item["code"]))
    code = f"{escape(item['code'])}^{name}^LN"
    if item.get("local"):
        code += f"^{escape(item['local'])}^{name}^L"
    value = item["value"] if item.get("raw") else escape(item["value"])
    fields = ["OBX", str(number), item.get("type", "ST"), code, item.get("sub_id", ""), value]
    fields += [item.get("units", ""), escape(item.get("range", "NEGATIVE")), _flag(item)]
    fields += ["", "", item.get("status", report.status), "", "", report.collected]
    return "|".join([*fields, "MET^Quest Marlborough"])


def _flag(item: Mapping[str, str]) -> str:
    if "flag" in item:
        return item["flag"]
    value = item["value"].upper()
    return "A" if value == "POSITIVE" or value.endswith("+") else ""


def _spm(report: Report) -> str:
    source = "122575003^Urine specimen^SCT"
    return "|".join(["SPM", "1", "", "", source, *[""] * 12, report.collected])


def escape(text: str) -> str:
    """Return text with HL7's own characters escaped."""
    for character, replacement in _ESCAPES:
        text = text.replace(character, replacement)
    return text.replace("\r", " ").replace("\n", " ")
