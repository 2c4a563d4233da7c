"""How operations name codes: code and system, a Coding, a CodeableConcept."""

from dataclasses import dataclass

from fhir.documents import JsonObject
from fhir.operations.parameters import InvalidParameter, Parameters


@dataclass(frozen=True, slots=True)
class Coded:
    """A code as a call names it."""

    system: str
    code: str
    display: str = ""
    version: str = ""


def read_coding(coding: JsonObject, name: str = "coding") -> Coded:
    """Return a Coding; raise InvalidParameter without a code."""
    code = coding.get("code")
    if not isinstance(code, str) or not code:
        raise InvalidParameter(f"`{name}` needs a `code`.", param=name)
    return Coded(
        str(coding.get("system", "")),
        code,
        str(coding.get("display", "")),
        str(coding.get("version", "")),
    )


def asked_codes(given: Parameters, *, system: str = "system") -> list[Coded]:
    """Return the codes of a call, exactly one of `code`, `coding` and `codeableConcept`."""
    ways = [name for name in ("code", "coding", "codeableConcept") if name in given]
    if len(ways) != 1:
        raise InvalidParameter(
            "Give exactly one of `code` (with `system`), `coding` and `codeableConcept`.",
            param=ways[1] if ways else "code",
        )
    if ways == ["code"]:
        return [
            Coded(
                given.text(system) or "",
                given.required("code"),
                given.text("display") or "",
                given.text("version") or given.text("systemVersion") or "",
            )
        ]
    if ways == ["coding"]:
        return [read_coding(given.element("coding", "Coding") or {})]
    concept = given.element("codeableConcept", "CodeableConcept") or {}
    codings = concept.get("coding")
    if not isinstance(codings, list) or not codings:
        raise InvalidParameter("`codeableConcept` needs a `coding`.", param="codeableConcept")
    return [read_coding(coding, "codeableConcept.coding") for coding in codings]
