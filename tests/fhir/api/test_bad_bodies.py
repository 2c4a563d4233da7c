"""Bodies that are broken in every way that a body can be: refused with an outcome, or kept."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
FHIR, XML = "application/fhir+json", "application/fhir+xml"
OPEN = '<Patient xmlns="http://hl7.org/fhir">'


def named(family: str) -> str:
    return f'{{"resourceType":"Patient","name":[{{"family":"{family}"}}]}}'


def measured(value: str, key: str = "valueQuantity") -> str:
    inner = f'{{"value":{value}}}' if key == "valueQuantity" else value
    return (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        f'"{key}":{inner}}}'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"resourceType":"Pat', 400),
        ("[]", 400),
        ("null", 400),
        (named("x") * 2, 400),
        (named("Müller").encode("latin-1"), 400),
        (named("x").encode("utf-16"), 400),
        (named("x").encode("utf-32"), 400),
        (b"\xef\xbb\xbf" + named("x").encode(), 201),
        (named("\\ud800"), 400),
        (named("\\ud83d\\ude00"), 201),
        (b'{"resourceType":"Patient","name":[{"family":"\xed\xa0\x80"}]}', 400),
        (named("a\\u0000b"), 400),
        (named("a\\u0007b"), 400),
        (b'{"resourceType":"Patient","name":[{"family":"a\x00b"}]}', 400),
        ('{"resourceType":"Patient","active":true,"active":true}', 400),
        ('{"resourceType":"Patient","active":true,"\\u0061ctive":false}', 400),
        ('{"resourceType":"Patient","contact":' + '{"a":' * 9999 + "1" + "}" * 9999 + "}", 400),
        ('{"resourceType":"Patient","name":' + "[" * 9999 + "]" * 9999 + "}", 400),
        (measured("NaN"), 400),
        (measured("-Infinity"), 400),
        (measured("1e400"), 400),
        (measured("01"), 400),
        (measured("2147483648", "valueInteger"), 422),
        (measured("1.0", "valueInteger"), 422),
        (measured("99999999999999999999", "valueInteger"), 422),
        ('{"resourceType":"Patient","name":[]}', 422),
        ('{"resourceType":"Patient","name":[{}]}', 422),
        ('{"resourceType":"Patient","gender":""}', 422),
        ('{"resourceType":"Patient","active":null}', 422),
        ('{"resourceType":"Patient","name":[{"given":["a",null]}]}', 422),
        ('{"resourceType":"Patient","name":[{"given":["a",null],"_given":[null,null]}]}', 422),
        ('{"resourceType":"Patient","meta":{"tag":[null]}}', 422),
        ('{"resourceType":"Patient","contained":[null]}', 422),
        ('{"resourceType":7}', 400),
        ('{"resourceType":"Dummy"}', 400),
        (named("a" * 1024 * 1100), 422),
    ],
)
def test_json_that_is_broken_or_only_odd(
    alice_client: APIClient, body: str | bytes, status: int
) -> None:
    kind = "Observation" if "Observation" in str(body)[:40] else "Patient"
    answer = alice_client.generic("POST", f"/v1/fhir/{kind}", body, FHIR)
    assert answer.status_code == status, answer.content
    if status >= 400:
        told = json.loads(answer.content)
        assert told["resourceType"] == "OperationOutcome"
        assert told["issue"][0]["diagnostics"]
        assert alice_client.get(f"/v1/fhir/{kind}?_total=accurate").json()["total"] == 0


@pytest.mark.parametrize("digits", ["0.40", "1.50e2", "-0.0", "1e308", "0.12345678901234567890123"])
def test_a_number_keeps_its_digits(alice_client: APIClient, digits: str) -> None:
    answer = alice_client.generic("POST", "/v1/fhir/Observation", measured(digits), FHIR)
    assert answer.status_code == 201
    read = alice_client.get(answer["Location"].removeprefix("http://testserver"))
    assert f'"value":{digits}}}'.encode() in read.content


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (f"{OPEN}<active", 400),
        (f"<!DOCTYPE Patient>{OPEN}</Patient>", 400),
        (f"<!DOCTYPE Patient [<!ENTITY a 'b'><!ENTITY b '&a;&a;'>]>{OPEN}</Patient>", 400),
        (f"<!DOCTYPE Patient [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>{OPEN}&x;</Patient>", 400),
        ('<Patient xmlns="urn:hl7-org:v3"/>', 400),
        (f"{OPEN}<!-- a --><?b c?><active value='true'/></Patient>", 201),
        (f"{OPEN}<name xml:id='a'><family value='x'/></name></Patient>", 400),
        (f"{OPEN}<gender value='a&#0;'/></Patient>", 400),
        (f"{OPEN}<gender value='&#xD800;'/></Patient>", 400),
        (f"{OPEN}{'<contact>' * 3000}{'</contact>' * 3000}</Patient>", 400),
        (f"{OPEN}</Patient>{OPEN}</Patient>", 400),
        (f"{OPEN}<active value='1'/></Patient>", 422),
        (f"{OPEN}<gender value=''/></Patient>", 422),
        (f"{OPEN}<foo value='1'/></Patient>", 422),
        (f"{OPEN}<name><family value='ü'/></name></Patient>".encode("latin-1"), 400),
        (f"{OPEN}</Patient>".encode("utf-16"), 400),
    ],
)
def test_xml_that_is_broken_or_only_odd(
    alice_client: APIClient, body: str | bytes, status: int
) -> None:
    answer = alice_client.generic("POST", "/v1/fhir/Patient", body, XML)
    assert answer.status_code == status, answer.content
    if status >= 400:
        assert json.loads(answer.content)["resourceType"] == "OperationOutcome"
        assert alice_client.get("/v1/fhir/Patient?_total=accurate").json()["total"] == 0


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/x-www-form-urlencoded", ";;;", "multipart/form-data"),
        *("application/json; charset=iso-8859-1", "application/fhir+json; fhirVersion=5.0"),
    ],
)
def test_other_media_types_are_415(alice_client: APIClient, kind: str) -> None:
    answer: Any = alice_client.generic("POST", "/v1/fhir/Patient", named("x"), kind)
    assert answer.status_code == 415
    assert json.loads(answer.content)["resourceType"] == "OperationOutcome"
