"""XML Patch (RFC 5261) over resources."""

import json
from typing import Any

import pytest

from fhir.patches import InvalidPatch, PatchFailed, read_patch

KIND = "application/xml-patch+xml"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>one</p> and <b>two</b> three</div>'
PATIENT = (
    '{"resourceType":"Patient","id":"a","active":true,"text":{"status":"generated","div":'
    + json.dumps(DIV)
    + '},"extension":[{"url":"urn:x","valueDecimal":0.40}],'
    '"name":[{"family":"Abt","given":["A","B"]},{"family":"Z"}]}'
)


def patched(operations: str, namespaces: str = 'xmlns:f="http://hl7.org/fhir"') -> dict[str, Any]:
    document = f"<diff {namespaces}>{operations}</diff>".encode()
    found: dict[str, Any] = json.loads(read_patch(document, KIND).apply(PATIENT.encode()).text)
    return found


@pytest.mark.parametrize(
    ("operations", "member", "value"),
    [
        ('<replace sel="f:Patient/f:active/@value">false</replace>', "active", False),
        ('<replace sel="/f:Patient/f:active"><f:active value="false"/></replace>', "active", False),
        ('<add sel="f:Patient"><f:gender value="male"/></add>', "gender", "male"),
        ('<add sel="f:Patient/f:active" type="@id">x</add>', "_active", {"id": "x"}),
        ('<remove sel="f:Patient/f:active"/>', "active", None),
        (
            "<remove sel=\"f:Patient/f:name[1]/f:given[@value='A']\"/>",
            "name",
            [{"family": "Abt", "given": ["B"]}, {"family": "Z"}],
        ),
        (
            '<add sel="f:Patient/f:name[2]" pos="before">'
            '<f:name><f:text value="n"/></f:name></add>',
            "name",
            [{"family": "Abt", "given": ["A", "B"]}, {"text": "n"}, {"family": "Z"}],
        ),
        (
            '<add sel="f:Patient/f:name[2]" pos="prepend"><f:text value="n"/></add>'
            '<replace sel="f:Patient/f:name[2]/f:text/@value">m</replace>'
            '<remove sel="f:Patient/f:name[1]"/>',
            "name",
            [{"text": "m", "family": "Z"}],
        ),
    ],
)
def test_operations_add_replace_and_remove(operations: str, member: str, value: object) -> None:
    found = patched(operations)
    assert found.get(member) == value
    assert found["text"]["div"] == DIV


def test_names_without_a_prefix_are_of_the_default_namespace_or_fhirs() -> None:
    operation = '<replace sel="Patient/active/@value">false</replace>'
    for namespaces in ("", 'xmlns="http://hl7.org/fhir"'):
        assert patched(operation, namespaces)["active"] is False
    with pytest.raises(InvalidPatch, match="no operation"):
        patched('<o:replace xmlns:o="urn:other" sel="Patient"/>', "")


def test_decimals_keep_their_digits_and_narratives_their_text() -> None:
    document = b'<diff><remove sel="Patient/active"/></diff>'
    assert b'"valueDecimal":0.40' in read_patch(document, KIND).apply(PATIENT.encode()).text
    div = '<remove sel="f:Patient/f:text/h:div/h:b"/>'
    spaces = 'xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml"'
    assert patched(div, spaces)["text"]["div"].endswith("<p>one</p> and  three</div>")


@pytest.mark.parametrize(
    "operations",
    [
        '<remove sel="Patient"/>',
        '<remove sel="Patient/name"/>',
        '<remove sel="Patient/name[7]"/>',
        '<replace sel="Patient/active"/>',
        '<add sel="Patient/active/@value">false</add>',
        '<add sel="Patient" pos="before"><active/></add>',
    ],
)
def test_what_does_not_fit_fails(operations: str) -> None:
    with pytest.raises(PatchFailed):
        patched(operations, "")


@pytest.mark.parametrize(
    "document",
    [
        "no xml",
        "<diff/>",
        "<other><remove sel='Patient/active'/></other>",
        "<diff><move sel='Patient/active'/></diff>",
        "<diff><remove/></diff>",
        "<diff><remove sel='//name'/></diff>",
        "<diff><remove sel='Patient/../x'/></diff>",
        "<diff><remove sel='Patient/name[count(*)=1]'/></diff>",
        "<diff><remove sel='Patient/name[1 or 2]'/></diff>",
        '<!DOCTYPE d [<!ENTITY e "x">]><diff><remove sel="Patient/active"/></diff>',
        "<diff>" + "<remove sel='Patient/active'/>" * 1001 + "</diff>",
    ],
)
def test_what_is_no_patch_is_refused(document: str) -> None:
    with pytest.raises(InvalidPatch):
        read_patch(document.encode(), KIND)


def test_a_prefix_that_means_nothing_is_refused() -> None:
    with pytest.raises(InvalidPatch, match="can't be read"):
        patched('<remove sel="g:Patient/g:active"/>', "")
    with pytest.raises(InvalidPatch, match="pos"):
        patched('<add sel="Patient/active" pos="inside"><gender/></add>', "")
    with pytest.raises(InvalidPatch, match="type"):
        patched('<add sel="Patient/active" type="namespace::x">urn:x</add>', "")
