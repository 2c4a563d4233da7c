"""HL7 v2 results: parsed, escaped, refused; timestamps; the acknowledgement."""

import re
from datetime import UTC, datetime

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.catalog.connectors.quest_diagnostics import messages
from assets.catalog.connectors.quest_diagnostics.messages import MessageError, parse_oru
from assets.simulators.quest.messages import PANELS, Person, Report, write_oru

SAMPLE = (
    "MSH|^~\\&|LAB|MET|HEALTHCLOUD|CLINIC01|20261121103000||ORU^R01^ORU_R01|80001|T|2.5.1\r"
    "PID|1||PAT123^^^CLINIC01^MR~999^^^X^AN||DOE^JANE^A||19700214|F\r"
    "ORC|RE|HC-0001^CLINIC01|WX123456A^MET\r"
    "OBR|1|HC-0001^CLINIC01|WX123456A^MET|5463^URINALYSIS, COMPLETE^L|||20261120140000|||||||"
    "||1234567893^SMITH^JOHN^^^^^^NPI||||||20261121100000|||F\r"
    "OBX|1|ST|5799-2^LEUKOCYTE ESTERASE^LN^50055000^LE^L||3+||NEGATIVE|A|||F|||20261120140000\r"
    "NTE|1|L|This is a comment \\T\\ more \\.br\\ text\r"
    "OBX|2|TX|86001^CULTURE^L||Greater than 100,000||||||F\r"
    "OBX|3|TX|86001^CULTURE^L||of Escherichia coli||||||F\r"
)


def test_a_result_is_read_with_escapes_repeats_and_continued_text() -> None:
    message = parse_oru(SAMPLE)
    assert message.control_id == "80001"
    assert message.patient.numbers == (("PAT123", "CLINIC01", "MR"), ("999", "X", "AN"))
    assert message.patient.birth_date == "1970-02-14"
    group = message.groups[0]
    assert (group.placer, group.filler, group.status) == ("HC-0001", "WX123456A", "F")
    leukocytes, culture = group.lines
    assert leukocytes.code.other_code == "50055000"
    assert leukocytes.notes == ["This is a comment & more \n text"]
    assert culture.values == ["Greater than 100,000", "of Escherichia coli"]


@pytest.mark.parametrize("separator", ["\r", "\n", "\r\n"])
def test_any_line_ending_is_read(separator: str) -> None:
    assert parse_oru(SAMPLE.replace("\r", separator)).groups == parse_oru(SAMPLE).groups


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with MSH"),
        ("hello", "does not begin with MSH"),
        (SAMPLE.replace("ORU^R01^ORU_R01", "ADT^A01"), "MSH-9 is ADT^A01; expected ORU^R01"),
        (SAMPLE.replace("|80001|", "||"), "MSH-10 (message control id) is empty"),
        (SAMPLE.replace("PID|", "ZID|"), "0 PID segments; expected one"),
        (SAMPLE.partition("ORC|")[0], "no OBR segment"),
        (SAMPLE.replace("WX123456A", ""), "OBR-3 (filler order number) is empty"),
    ],
)
def test_an_unusable_message_says_why(text: str, reason: str) -> None:
    with pytest.raises(MessageError, match=re.escape(reason)):
        parse_oru(text)


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026", "2026"),
        ("202611", "2026-11"),
        ("20261122", "2026-11-22"),
        ("202611221005", "2026-11-22T10:05:00Z"),
        ("20261122100500.1234-0500", "2026-11-22T10:05:00-05:00"),
        ("20261322", None),
        ("202613", None),
        ("20261122246000", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_timestamps_keep_their_precision(stamp: str, expected: str | None) -> None:
    assert messages.fhir_datetime(stamp) == expected


def test_the_acknowledgement_is_hl7() -> None:
    text = messages.acknowledgement(
        control_id="80001", code="AE", reason="a|b & c", now=datetime(2026, 11, 22, tzinfo=UTC)
    )
    parsed = hl7.parse(text)
    assert str(parsed.segment("MSA")[1]) == "AE"
    assert str(parsed.segment("MSA")[2]) == "80001"
    assert parsed.unescape(str(parsed.segment("MSA")[3])) == "a|b & c"


@given(st.text(max_size=400))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    try:
        parse_oru("MSH|^~\\&|" + text)
    except MessageError:
        return


PRINTABLE = st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=["Cc"])


@given(
    family=st.text(PRINTABLE, min_size=1, max_size=30),
    value=st.text(PRINTABLE, min_size=1, max_size=60),
)
def test_what_the_laboratory_writes_is_what_we_read(family: str, value: str) -> None:
    report = Report(
        control_id="C1",
        filler="WX1",
        person=Person("M1", family, "Jane", "1970-02-14"),
        lines=[*PANELS["uti_positive"], {"code": "1-8", "value": value}],
        collected="20261120140000",
        reported="20261121100000",
    )
    message = parse_oru(write_oru(report))
    assert message.patient.name.family == family.strip().removeprefix('""')
    read = message.groups[0].lines[4].values if len(message.groups[0].lines) > 4 else []
    assert read == ([value.strip()] if value.strip() not in ("", '""') else [])
