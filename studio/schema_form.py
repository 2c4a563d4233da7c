"""A Django form made from a JSON Schema: for configurations, inputs and approvals."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import QueryDict

Schema = Mapping[str, Any]
"""A JSON Schema as parsed JSON."""


class SchemaForm(forms.Form):
    """Fields for the properties of an object schema, in the schema's order.

    The form checks shapes only (numbers, JSON); the schema itself is enforced by the service that
    takes `value()`, so that Studio and API answer alike.
    """

    def __init__(
        self, schema: Schema, data: QueryDict | None = None, *, initial: Mapping[str, object]
    ) -> None:
        self.properties: Mapping[str, Schema] = in_order(schema.get("properties", {}))
        shown = {
            name: _shown(self.properties[name], value)
            for name, value in initial.items()
            if name in self.properties
        }
        super().__init__(data, initial=shown)
        required = set(schema.get("required", ()))
        for name, spec in self.properties.items():
            self.fields[name] = field_of(name, spec, required=name in required)

    def value(self) -> dict[str, object]:
        """Return what was filled in, typed as the schema says; empty fields are left out."""
        result: dict[str, object] = {}
        for name, spec in self.properties.items():
            given = self.cleaned_data.get(name)
            if type_of(spec) == "boolean":
                result[name] = bool(given)
            elif given not in (None, "", []):
                result[name] = given
        return result


class JsonField(forms.JSONField):
    """A JSON value in a text area set in code type."""

    widget = forms.Textarea(attrs={"rows": 5, "class": "textarea-code", "spellcheck": "false"})


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    widget = forms.Textarea(attrs={"rows": 3})

    def to_python(self, value: object) -> Any:  # noqa: ANN401 - Django's signature
        """Return the lines that hold something."""
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]


def in_order(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return the properties as `x-hc-order` sorts them; what has none keeps its place after."""
    return dict(sorted(properties.items(), key=lambda item: item[1].get("x-hc-order", 1000)))


def type_of(spec: Schema) -> str:
    """Return a property's type; of several, the first that isn't null."""
    kind = spec.get("type", "string" if "enum" in spec else "object")
    if isinstance(kind, list):
        return next((name for name in kind if name != "null"), "string")
    return str(kind)


def field_of(name: str, spec: Schema, *, required: bool) -> forms.Field:
    """Return the field for one property: choices, switch, number, list, JSON or text."""
    common: dict[str, Any] = {
        "label": spec.get("title") or name.replace("_", " ").capitalize(),
        "help_text": spec.get("x-hc-help") or spec.get("description", ""),
        "required": required,
    }
    kind = type_of(spec)
    if "enum" in spec:
        choices = [(value, str(value)) for value in spec["enum"]]
        return forms.TypedChoiceField(
            choices=choices if required else [("", "–"), *choices], **common
        )
    if kind == "boolean":
        return forms.BooleanField(**common | {"required": False})
    if kind == "integer":
        return forms.IntegerField(
            min_value=spec.get("minimum"), max_value=spec.get("maximum"), **common
        )
    if kind == "number":
        return forms.FloatField(
            min_value=spec.get("minimum"), max_value=spec.get("maximum"), **common
        )
    if kind == "array" and type_of(spec.get("items", {})) == "string":
        common["help_text"] = f"{common['help_text']} One a line.".strip()
        return LinesField(**common)
    if kind in ("array", "object"):
        return JsonField(**common)
    return _text_field(spec, common)


def _text_field(spec: Schema, common: dict[str, Any]) -> forms.Field:
    if spec.get("x-hc-widget") == "textarea" or spec.get("maxLength", 0) > 400:
        return forms.CharField(widget=forms.Textarea(attrs={"rows": 4}), **common)
    kinds = {"uri": "url", "email": "email", "date": "date"}
    widget = forms.TextInput(attrs={"type": kinds.get(spec.get("format", ""), "text")})
    if examples := spec.get("examples"):
        widget.attrs["placeholder"] = str(examples[0])
    return forms.CharField(max_length=spec.get("maxLength"), widget=widget, **common)


def _shown(spec: Schema, value: object) -> object:
    if isinstance(value, list) and type_of(spec.get("items", {})) == "string":
        return "\n".join(map(str, value))
    return value
