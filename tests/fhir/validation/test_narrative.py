"""Narratives hold basic formatting only."""

import pytest

from fhir.validation import validate
from fhir.validation.narrative import has_content, is_safe

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def div(content):
    return f"<div {XHTML}>{content}</div>"


@pytest.mark.parametrize(
    "content",
    [
        "Text",
        "<p>One <b>bold</b> word<br/></p>",
        '<table class="grid"><tbody><tr><td colspan="2">1</td></tr></tbody></table>',
        '<a href="https://example.org" title="x">link</a>',
        '<img src="#picture" alt="x"/>',
        "a &lt; b &amp;&#160;c",
        "<!-- a comment -->text",
        '<p xml:lang="de" lang="de">Hallo</p>',
        '<pre xml:space="preserve">a  b</pre>',
    ],
)
def test_basic_formatting_is_safe(content):
    assert is_safe(div(content))


@pytest.mark.parametrize(
    "text",
    [
        div("<script>alert(1)</script>"),
        div('<p onclick="alert(1)">x</p>'),
        div("<style>p {}</style>"),
        div('<a href="javascript:alert(1)">x</a>'),
        div('<a href=" JavaScript:alert(1)">x</a>'),
        div("<iframe/>"),
        div("<form><input/></form>"),
        div('<svg xmlns="http://www.w3.org/2000/svg"/>'),
        div("<object/>"),
        div("&nbsp;"),
        div("<p>not closed"),
        "<div>without the namespace</div>",
        f"<p {XHTML}>no div</p>",
        "plain text",
        f"<!DOCTYPE div [<!ENTITY x 'y'>]><div {XHTML}>&x;</div>",
        f"<?xml version='1.0'?><div {XHTML}>x</div>",
        div("\ud800"),
    ],
)
def test_anything_else_is_not(text):
    assert not is_safe(text)


def test_a_script_in_a_narrative_is_an_issue():
    patient = {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": div("<script>alert(1)</script>")},
    }
    issue = validate(patient)[0]
    assert (issue.code, issue.expression) == ("invariant", "Patient.text")
    assert "(txt-1)" in issue.diagnostics


@pytest.mark.parametrize(("content", "shows"), [("", False), ("  <p/> ", False), ("x", True)])
def test_an_empty_narrative_is_a_warning(content, shows):
    assert has_content(div(content)) is shows
    patient = {"resourceType": "Patient", "text": {"status": "empty", "div": div(content)}}
    assert validate(patient) == []
    warnings = [issue.severity for issue in validate(patient, warnings=True)]
    assert warnings == ([] if shows else ["warning"])
