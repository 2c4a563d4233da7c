"""Folded texts are equal when they differ in case, accents and white space only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.search.extractors import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Smith", "smith"),
        ("  Van   der  Berg ", "van der berg"),
        ("Jörg", "jorg"),
        ("MÜLLER-Straße", "muller-strasse"),
        ("Søren Ærø", "soren aero"),
        ("Łukasz", "lukasz"),
        ("ŉ", "ʼn"),
        ("𝑨𝑩", "ab"),
        ("山田", "山田"),
        ("", ""),
    ],
)
def test_case_accents_and_white_space_do_not_count(text, folded):
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_changes_nothing(text):
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet=st.characters(max_codepoint=0x17F)))
def test_upper_and_lower_case_fold_alike(text):
    assert fold(text.upper()) == fold(text.lower())
