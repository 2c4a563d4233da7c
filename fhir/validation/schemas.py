"""Writes a JSON Schema for each resource type from its StructureDefinition.

Contained resources, Bundle.entry.resource and Parameters.parameter.resource stay open objects;
they are validated by the schema of their own type. The schemas are strict where R4 lets an
extension stand in for a primitive value: `fhir.validation.structure` forgives those errors, so
that the usual resource pays nothing for them. `x-type` and its kin are notes for the messages.
https://hl7.org/fhir/R4/json.html
"""

from collections.abc import Iterable
from typing import Any

from fhir.definitions import Element, Structure, structure, value_set
from fhir.validation.contradictions import EXTENDED_SETS, TARGETS
from fhir.validation.primitives import ELEMENT_ID, ID, LANGUAGE, OPEN_SETS, PRIMITIVES

Schema = dict[str, Any]

_INLINE = {"BackboneElement", "Element"}
_MANY_TYPES = 15


def write_schema(resource_type: str) -> Schema:
    """Answer the schema (draft 7) of a resource type, complete in itself."""
    writer = _SchemaWriter()
    reference = writer.backbone(resource_type, "")
    return {**reference, "definitions": writer.definitions}


class _SchemaWriter:
    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def backbone(self, type_name: str, path: str) -> Schema:
        """Refer to the definition of a structure or of one of its backbone elements."""
        name = f"{type_name}.{path}" if path else type_name
        if name not in self.definitions:
            self.definitions[name] = {}  # so that a type that contains itself ends here
            self.definitions[name] = self.general(type_name, path)
        return {"$ref": f"#/definitions/{name}"}

    def general(self, type_name: str, path: str = "") -> Schema:
        found = structure(type_name)
        if found is None:
            raise LookupError(f"R4 has no type {type_name}.")
        return self.object(found, path)

    def object(self, found: Structure, path: str) -> Schema:
        children = found.children(path)
        schema: Schema = {
            "type": "object",
            "minProperties": 1,
            "properties": {},
            "required": [],
            "additionalProperties": False,
        }
        if found.kind == "resource" and not path:
            schema["properties"]["resourceType"] = {"const": found.name}
            schema["required"].append("resourceType")
        for element in children:
            self.add_element(schema, found, element)
        return {key: value for key, value in schema.items() if value != []}

    def add_element(self, schema: Schema, found: Structure, element: Element) -> None:
        names = element.json_names()
        for key, kind in names:
            value = self.value(found, element, kind)
            is_primitive = kind in PRIMITIVES
            schema["properties"][key] = _repeated(value) if element.repeats else value
            if is_primitive and kind != "xhtml":
                shadow = self.backbone("Element", "")
                schema["properties"][f"_{key}"] = (
                    _repeated_shadow(shadow) if element.repeats else shadow
                )
        keys = [key for key, _ in names]
        if element.is_choice:
            add_choice(schema, keys, element)
        elif element.minimum:
            schema["required"].append(keys[0])

    def value(self, found: Structure, element: Element, kind: str) -> Schema:
        if element.content_of is not None:
            return self.backbone(found.name, element.content_of)
        if kind in PRIMITIVES:
            return ELEMENT_ID if _is_element_id(element, kind) else self.primitive(element, kind)
        if kind in _INLINE:
            return self.backbone(found.name, element.path)
        if kind == "Resource":
            return {"type": "object", "x-type": "Resource"}
        if kind == "Reference" and element.targets:
            return self.reference(element.targets + TARGETS.get((found.name, element.path), ()))
        if element.binding_strength == "required" and kind == "CodeableConcept":
            return self.coded(element)
        return self.backbone(kind, "")

    def primitive(self, element: Element, kind: str) -> Schema:
        schema = {**PRIMITIVES[kind], "x-type": kind}
        if kind == "code" and element.name == "language" and element.binding is None:
            return {**schema, "pattern": LANGUAGE, "x-type": "language"}
        if kind != "code" or element.binding_strength != "required" or not element.binding:
            return schema
        if element.binding in EXTENDED_SETS:
            return schema
        systems = value_set(element.binding)
        if systems is not None:
            codes = sorted({code for codes in systems.values() for code in codes})
            return {"enum": codes, "x-type": "code", "x-value-set": element.binding}
        if element.binding in OPEN_SETS:
            schema["pattern"] = OPEN_SETS[element.binding]
            schema["x-value-set"] = element.binding
        return schema

    def reference(self, targets: tuple[str, ...]) -> Schema:
        """A Reference that may point to some types only."""
        name = f"Reference-{'-'.join(targets)}"
        if name not in self.definitions:
            self.definitions[name] = {}
            general = self.general("Reference")
            literal = {
                "type": "string",
                "pattern": reference_pattern(targets),
                "x-type": "uri",
                "x-targets": list(targets),
            }
            self.definitions[name] = {
                **general,
                "properties": {**general["properties"], "reference": literal},
            }
        return {"$ref": f"#/definitions/{name}"}

    def coded(self, element: Element) -> Schema:
        """A CodeableConcept that must carry a code of a required value set."""
        systems = value_set(element.binding or "")
        if systems is None:
            return self.backbone("CodeableConcept", "")
        name = f"CodeableConcept-{(element.binding or '').rpartition('/')[2]}"
        if name not in self.definitions:
            self.definitions[name] = {}
            general = self.general("CodeableConcept")
            codings = {
                **general["properties"]["coding"],
                "contains": {"anyOf": [_coding_of(*entry) for entry in systems.items()]},
                "x-value-set": element.binding,
            }
            self.definitions[name] = {
                **general,
                "properties": {**general["properties"], "coding": codings},
                "required": ["coding"],
                "x-value-set": element.binding,
            }
        return {"$ref": f"#/definitions/{name}"}


def _is_element_id(element: Element, kind: str) -> bool:
    """The id of an element, which is no logical id: https://hl7.org/fhir/R4/element.html#id"""
    return element.name == "id" and kind == "string"


def _coding_of(system: str, codes: Iterable[str]) -> Schema:
    return {
        "properties": {"system": {"const": system}, "code": {"enum": list(codes)}},
        "required": ["system", "code"],
    }


def _repeated(value: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": value}


def _repeated_shadow(value: Schema) -> Schema:
    """Extensions of a repeated primitive: nulls keep the places in step with the values."""
    return {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"type": "null"}, value]},
        "contains": {"type": "object"},
    }


def add_choice(schema: Schema, keys: list[str], element: Element) -> None:
    """Allow one of the keys of a choice (`valueString`, `valueQuantity` …), or demand it."""
    note = {"x-choice": element.path.rpartition(".")[2], "x-keys": keys}
    every = [{"required": [key]} for key in keys]
    if element.minimum:
        schema.setdefault("allOf", []).append({"anyOf": every, **note})
    if len(keys) < _MANY_TYPES:
        for key in keys:
            others = [{"required": [other]} for other in keys if other != key]
            schema.setdefault("dependencies", {})[key] = {"not": {"anyOf": others}, **note}
        return
    crowded = {"minProperties": 3}
    exclusive = {"oneOf": [*every, {"not": {"anyOf": every}}], **note}
    schema.setdefault("allOf", []).append({"if": crowded, "then": exclusive})


def reference_pattern(targets: Iterable[str]) -> str:
    """Answer the pattern of a literal reference to one of some types.

    Fragments, absolute uris and conditional references (`Patient?identifier=…`) may stand for
    any type; `fhir.validation.references` looks at the absolute ones.
    """
    types = "|".join(targets)
    return rf"^(#\S*|({types})/{ID}(/_history/{ID})?|({types})\?\S+|[A-Za-z][A-Za-z0-9+.\-]*:\S+)$"
