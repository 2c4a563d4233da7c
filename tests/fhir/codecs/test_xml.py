"""XML and JSON are two spellings of the same resource."""

import json
import re
import string
import tarfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir.codecs.xml import MalformedXml, from_xml, to_xml
from fhir.documents import parse
from fhir.errors import HealthCloudError
from fhir.validation import validate
from tests.fhir.conftest import DATA

OPEN = '<Patient xmlns="http://hl7.org/fhir">'


def exact(text: bytes) -> Any:
    """Answer the JSON with each number as the text that it was written as."""
    number = lambda digits: ("number", digits)  # noqa: E731 -- a name for two uses
    return json.loads(text, parse_float=number, parse_int=number)


def read(body: str) -> Any:
    return exact(from_xml(f"{OPEN}{body}</Patient>".encode()))


@pytest.mark.parametrize("archive", ["r4-examples-675.tar.xz", "validator-cases-r4-base.tar.xz"])
def test_every_official_example_survives_the_way_through_xml(archive: str) -> None:
    path = DATA / archive
    if not path.exists():
        pytest.skip(f"../shared/data/{archive} is not here")
    seen = 0
    with tarfile.open(path) as opened:
        for member in opened:
            file = opened.extractfile(member) if member.name.endswith(".json") else None
            text = file.read() if file else b""
            if not text or member.name.endswith("manifest.json"):
                continue
            try:
                resource = parse(text)
            except HealthCloudError:
                continue
            if archive.startswith("validator") and validate(resource.data):
                continue  # what is not valid has no form in XML
            if member.name.endswith("patient-hs-1.json"):
                continue  # `given` is shorter than `_given`: comes back with a null more
            for pretty in (False, True):
                assert exact(from_xml(to_xml(text, pretty=pretty))) == exact(text), member.name
            seen += 1
    assert seen >= (675 if archive.startswith("r4") else 20)


def test_elements_follow_the_order_of_the_specification() -> None:
    text = (
        b'{"resourceType":"Patient","birthDate":"1970-01-01","active":true,"id":"a",'
        b'"name":[{"given":["A","B"],"family":"F","id":"n1"}]}'
    )
    assert to_xml(text).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?><Patient xmlns="http://hl7.org/fhir">'
        '<id value="a"/><active value="true"/><name id="n1"><family value="F"/>'
        '<given value="A"/><given value="B"/></name><birthDate value="1970-01-01"/></Patient>'
    )


def test_pretty_xml_is_indented() -> None:
    text = b'{"resourceType":"Patient","name":[{"family":"F"}]}'
    assert to_xml(text, pretty=True).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Patient xmlns="http://hl7.org/fhir">\n'
        '  <name>\n    <family value="F"/>\n  </name>\n</Patient>\n'
    )


def test_ids_and_extensions_of_primitives_stand_beside_their_values() -> None:
    extension = '<extension url="urn:x"><valueDecimal value="1.00E+2"/></extension>'
    found = read(
        f'<birthDate id="b" value="1970-01-01">{extension}</birthDate>'
        f'<name><given value="A"/><given>{extension}</given></name>'
    )
    added = {"extension": [{"url": "urn:x", "valueDecimal": ("number", "1.00E+2")}]}
    assert found == {
        "resourceType": "Patient",
        "birthDate": "1970-01-01",
        "_birthDate": {"id": "b", **added},
        "name": [{"given": ["A", None], "_given": [None, added]}],
    }


def test_contained_and_nested_resources() -> None:
    xml = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="collection"/><total value="1"/><entry>'
        "<resource><Patient><contained><Organization><id value='o'/></Organization></contained>"
        "</Patient></resource></entry></Bundle>"
    )
    assert exact(from_xml(xml.encode())) == {
        "resourceType": "Bundle",
        "type": "collection",
        "total": ("number", "1"),
        "entry": [
            {
                "resource": {
                    "resourceType": "Patient",
                    "contained": [{"resourceType": "Organization", "id": "o"}],
                }
            }
        ],
    }


def test_a_narrative_keeps_its_bytes() -> None:
    div = (
        "<div xmlns='http://www.w3.org/1999/xhtml' >\n a &lt;b&gt; <br /> &#160;<!-- c -->"
        '<p title="x>y">ä</p></div >'
    )
    found = read(f'<text><status value="generated"/>{div}</text>')
    assert found["text"] == {"status": "generated", "div": div}


@pytest.mark.parametrize(
    ("root", "div", "expected"),
    [
        (
            '<Patient xmlns="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml">',
            "<h:div><h:p>a</h:p></h:div>",
            '<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>a</h:p></h:div>',
        ),
        (
            '<f:Patient xmlns:f="http://hl7.org/fhir" xmlns="http://www.w3.org/1999/xhtml">',
            "<div>a</div>",
            '<div xmlns="http://www.w3.org/1999/xhtml">a</div>',
        ),
    ],
)
def test_a_narrative_brings_the_prefixes_that_it_borrows(
    root: str, div: str, expected: str
) -> None:
    name = "f:" if root.startswith("<f:") else ""
    xml = f"{root}<{name}text>{div}</{name}text></{name}Patient>"
    assert json.loads(from_xml(xml.encode()))["text"]["div"] == expected


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("<Patient/>", "namespace"),
        ('<Patient xmlns="http://hl7.org/fhir">', "no element found"),
        ("", "no element"),
        ("{}", "not XML"),
        (f"<!DOCTYPE Patient [<!ENTITY a 'b'>]>{OPEN}</Patient>", "document type"),
        (f"{OPEN}<active value='&nbsp;'/></Patient>", "undefined entity"),
        (f"{OPEN}text</Patient>", "outside an attribute"),
        (f"{OPEN}<active value='true' v='1'/></Patient>", "no attribute `v`"),
        (f"{OPEN}<active value='true' value='1'/></Patient>", "duplicate attribute"),
        (f"{OPEN}<contained/></Patient>", "one resource"),
        (f"{OPEN}<x:y xmlns:x='urn:z'/></Patient>", "namespace"),
        (f"{OPEN}{'<contact>' * 99}{'</contact>' * 99}</Patient>", "deeper"),
        (f"<?xml version='1.0' encoding='ISO-8859-1'?>{OPEN}</Patient>", "UTF-8"),
        (f'{OPEN}<active value="\x01"/></Patient>', "not XML"),
        (OPEN.replace(">", ' id="1">') + "</Patient>", "attribute"),
    ],
)
def test_what_is_no_fhir_xml_is_refused_with_the_reason(body: str, word: str) -> None:
    with pytest.raises(MalformedXml, match=re.escape(word)):
        from_xml(body.encode())


def test_other_encodings_are_refused() -> None:
    for encoding in ("utf-16", "latin-1"):
        with pytest.raises(MalformedXml):
            from_xml(f'{OPEN}<name><family value="é"/></name></Patient>'.encode(encoding))


def test_a_byte_order_mark_is_no_fault() -> None:
    assert json.loads(from_xml(b"\xef\xbb\xbf" + f"{OPEN}</Patient>".encode())) == {
        "resourceType": "Patient"
    }


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('<foo value="1"/>', "foo"),
        ('<active value="yes"/>', "active"),
        ('<birthDate value=""/>', "birthDate"),
        ("<birthDate/>", "birthDate"),
        ('<birthDate value="1970"/><birthDate value="1971"/>', "birthDate"),
        ('<multipleBirthInteger value="1.5"/>', "multipleBirth"),
    ],
)
def test_what_is_no_valid_resource_is_named_by_the_validation(body: str, word: str) -> None:
    resource = parse(from_xml(f"{OPEN}{body}</Patient>".encode()))
    issues = validate(resource.data)
    assert word in str(issues)


_TEXT = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="".join(map(chr, range(9))))
)


@settings(max_examples=60, deadline=None)
@given(_TEXT, st.decimals(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_survive(text: str, number: object) -> None:
    allowed = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    body = (
        '{"resourceType":"Observation","note":[{"text":'
        + json.dumps(allowed)
        + f'}}],"valueQuantity":{{"value":{str(number).replace("E+", "E")}}}}}'
    ).encode()
    assert exact(from_xml(to_xml(body))) == exact(body)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=string.ascii_letters + '<>/&;"=! \t\n?[]-', max_size=80))
def test_no_text_is_a_fault_of_ours(text: str) -> None:
    try:
        found = from_xml(f"{OPEN}{text}</Patient>".encode())
    except MalformedXml:
        return
    assert json.loads(found)["resourceType"] == "Patient"
