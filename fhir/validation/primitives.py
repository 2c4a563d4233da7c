"""JSON Schemas of the primitive types. https://hl7.org/fhir/R4/datatypes.html#primitive

The patterns are R4's own, with two differences: a date must exist in the calendar, and an id may
hold underscores, which this platform allows.
"""

from typing import Any

ID = r"[A-Za-z0-9\-._]{1,64}"

_YEAR = r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
_LEAP = r"([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_MONTH = r"(0[1-9]|1[0-2])"
_DAY_OF_MONTH = (
    r"((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    r"|02-(0[1-9]|1[0-9]|2[0-8]))"
)
_FULL_DATE = rf"({_YEAR}-{_DAY_OF_MONTH}|{_LEAP}-02-29)"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

DATE = rf"^({_FULL_DATE}|{_YEAR}(-{_MONTH})?)$"
DATE_TIME = rf"^({_FULL_DATE}(T{_TIME}{_ZONE})?|{_YEAR}(-{_MONTH})?)$"
INSTANT = rf"^{_FULL_DATE}T{_TIME}{_ZONE}$"

_MAX_INT = 2**31 - 1
_URI = {"type": "string", "pattern": r"^\S+$"}
_STRING = {"type": "string", "minLength": 1, "maxLength": 1024 * 1024, "pattern": r"\S"}

PRIMITIVES: dict[str, dict[str, Any]] = {
    "base64Binary": {"type": "string", "pattern": r"^(\s*([0-9a-zA-Z+/=]\s*){4})+$"},
    "boolean": {"type": "boolean"},
    "canonical": _URI,
    "code": {"type": "string", "pattern": r"^[^\s]+(\s[^\s]+)*$"},
    "date": {"type": "string", "pattern": DATE},
    "dateTime": {"type": "string", "pattern": DATE_TIME},
    "decimal": {"type": "number"},
    "id": {"type": "string", "pattern": rf"^{ID}$"},
    "instant": {"type": "string", "pattern": INSTANT},
    "integer": {"type": "integer", "minimum": -_MAX_INT - 1, "maximum": _MAX_INT},
    "markdown": _STRING,
    "oid": {"type": "string", "pattern": r"^urn:oid:[0-2](\.(0|[1-9][0-9]*))+$"},
    "positiveInt": {"type": "integer", "minimum": 1, "maximum": _MAX_INT},
    "string": _STRING,
    "time": {"type": "string", "pattern": rf"^{_TIME}$"},
    "unsignedInt": {"type": "integer", "minimum": 0, "maximum": _MAX_INT},
    "uri": _URI,
    "url": _URI,
    "uuid": {
        "type": "string",
        "pattern": r"^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    },
    "xhtml": {"type": "string", "minLength": 1},
}

ELEMENT_ID = {**_STRING, "pattern": r"^\S+$", "x-type": "element id"}

# Value sets that are open by nature: what can be said of their codes is the syntax.
OPEN_SETS = {
    "http://hl7.org/fhir/ValueSet/mimetypes": r"^[^\s/]+(/[^\s/;]+(\s*;.*)?)?$",
    "http://hl7.org/fhir/ValueSet/currencies": r"^[A-Z]{3}$",
}

# https://www.rfc-editor.org/rfc/rfc5646#section-2.1, the value set all-languages
LANGUAGE = r"^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*|[IiXx](-[A-Za-z0-9]{1,8})+)$"

# How to say, in a remedy, what a value must look like.
SHAPES = {
    "base64Binary": "base64 text",
    "boolean": "true or false, without quotes",
    "canonical": "a uri without spaces, optionally with |version",
    "code": "a code without leading, trailing or double spaces",
    "date": "a calendar date: YYYY, YYYY-MM or YYYY-MM-DD",
    "dateTime": "YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a zone (Z or +hh:mm)",
    "decimal": "a JSON number, without quotes",
    "element id": "text without spaces",
    "id": "1 to 64 letters, digits, '-', '.' or '_'",
    "instant": "YYYY-MM-DDThh:mm:ss with a zone (Z or +hh:mm)",
    "integer": "a whole JSON number between -2147483648 and 2147483647",
    "language": "a language tag of BCP 47, such as en or de-CH",
    "markdown": "text that is not empty",
    "oid": "urn:oid: followed by an OID",
    "positiveInt": "a whole JSON number from 1 to 2147483647",
    "string": "text that is not empty, in quotes",
    "time": "hh:mm:ss, without a zone",
    "unsignedInt": "a whole JSON number from 0 to 2147483647",
    "uri": "a uri without spaces",
    "url": "a url without spaces",
    "uuid": "urn:uuid: followed by a UUID in lower case",
    "xhtml": "an XHTML <div>",
}
