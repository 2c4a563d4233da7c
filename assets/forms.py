"""JSON Schema → Django form: fields in order and groups, and validation errors put on their field.

`jsonschema` is the one judge, for API and form alike; Django's fields only read and show. The words
understood: `title description default enum minimum maximum minLength maxLength format`, and
`x-hc-order x-hc-group x-hc-help x-hc-secret x-hc-ref x-hc-immutable`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from assets.configuration import problems
from assets.sdk import Json

Choices = Sequence[tuple[str, str]]
References = Mapping[str, Choices]


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    widget = forms.Textarea

    def prepare_value(self, value: object) -> object:
        """Show a list as lines."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: object) -> Any:  # noqa: ANN401  Django's own signature
        """Return the lines that aren't empty."""
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]


class SchemaForm(forms.Form):
    """A form made from a schema of type object; `config()` is what was entered, as JSON."""

    schema: Json

    def __init__(
        self,
        schema: Json,
        *,
        data: Mapping[str, Any] | None = None,
        initial: Mapping[str, Any] | None = None,
        references: References | None = None,
        prefix: str | None = None,
        editing: bool = False,
    ) -> None:
        super().__init__(data=data, initial=dict(initial or {}), prefix=prefix)
        self.schema = schema
        required = set(schema.get("required", []))
        for name, spec in ordered(schema):
            field = make_field(spec, required=name in required, references=references or {})
            field.disabled = bool(editing and spec.get("x-hc-immutable"))
            self.fields[name] = field

    @property
    def groups(self) -> list[tuple[str, list[BoundField]]]:
        """The bound fields by group, groups in the order of their first field."""
        found: dict[str, list[BoundField]] = {}
        for name, spec in ordered(self.schema):
            found.setdefault(str(spec.get("x-hc-group", "")), []).append(self[name])
        return list(found.items())

    def config(self) -> Json:
        """Return what was entered; optional fields left empty are absent."""
        values: Json = {}
        properties = self.schema.get("properties", {})
        for name, value in self.cleaned_data.items():
            kind = properties[name].get("type")
            if value in (None, "", []) and kind != "boolean":
                continue
            values[name] = value
        return values

    def clean(self) -> dict[str, Any]:
        """Let the schema judge; each violation goes to its field."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            self.add_problems(problems(self.schema, self.config(), at="config"))
        return cleaned

    def add_problems(self, found: Sequence[Mapping[str, str]]) -> None:
        """Put violations, with JSON pointers as the API answers them, on their fields."""
        for item in found:
            name = item["pointer"].removeprefix("/").partition("/")[0]
            field = name if name in self.fields else None
            message = item["message"]
            self.add_error(field, f"{message[:1].upper()}{message[1:]}.")


class JsonField(forms.JSONField):
    """JSON; what Python can't read, such as a number of 5,000 digits, is an error of the field."""

    def to_python(self, value: object) -> Any:  # noqa: ANN401  # whatever the JSON says
        """Return what the text says; raise ValidationError."""
        try:
            return super().to_python(value)
        except (ValueError, RecursionError) as error:
            text = self.error_messages["invalid"]
            raise forms.ValidationError(text, code="invalid", params={"value": ""}) from error


def credentials_form(
    secrets: Sequence[Any], *, data: Mapping[str, Any] | None = None
) -> SchemaForm:
    """Return a write-only form of a manifest's secrets; what is left empty stays as it is."""
    properties = {
        item.name: {
            "type": "string",
            "title": item.label,
            "x-hc-help": item.help,
            "x-hc-secret": not item.multiline,
            "format": "multiline" if item.multiline else "",
        }
        for item in secrets
    }
    return SchemaForm({"type": "object", "properties": properties}, data=data)


def ordered(schema: Json) -> list[tuple[str, Json]]:
    """Return the properties by `x-hc-order`, then as they stand."""
    properties = list(schema.get("properties", {}).items())
    return sorted(properties, key=lambda item: item[1].get("x-hc-order", 1000))


def make_field(spec: Json, *, required: bool, references: References) -> forms.Field:
    """Return the Django field of a property."""
    common: dict[str, Any] = {
        "label": spec.get("title"),
        "help_text": spec.get("x-hc-help") or spec.get("description", ""),
        "required": required,
        "initial": spec.get("default"),
    }
    if "x-hc-ref" in spec and spec["x-hc-ref"] in references:
        return _choice(common, references[spec["x-hc-ref"]])
    if "enum" in spec:
        return _choice(common, [(str(value), str(value)) for value in spec["enum"]])
    makers: dict[str, Callable[[Json, dict[str, Any]], forms.Field]] = {
        "boolean": _boolean,
        "integer": _integer,
        "number": _number,
        "array": _array,
        "object": _object,
    }
    return makers.get(str(spec.get("type")), _text)(spec, common)


def _choice(common: dict[str, Any], choices: Choices) -> forms.Field:
    empty = [] if common["required"] else [("", "—")]
    return forms.ChoiceField(choices=[*empty, *choices], **common)


def _boolean(spec: Json, common: dict[str, Any]) -> forms.Field:
    return forms.BooleanField(**{**common, "required": False})


def _integer(spec: Json, common: dict[str, Any]) -> forms.Field:
    return forms.IntegerField(**common)


def _number(spec: Json, common: dict[str, Any]) -> forms.Field:
    return forms.FloatField(**common)


def _array(spec: Json, common: dict[str, Any]) -> forms.Field:
    items = spec.get("items", {})
    if "enum" in items:
        choices = [(str(value), str(value)) for value in items["enum"]]
        widget = forms.CheckboxSelectMultiple
        return forms.MultipleChoiceField(choices=choices, widget=widget, **common)
    return LinesField(**common)


def _object(spec: Json, common: dict[str, Any]) -> forms.Field:
    return JsonField(widget=forms.Textarea, encoder=json.JSONEncoder, **common)


def _text(spec: Json, common: dict[str, Any]) -> forms.Field:
    widget: forms.Widget = forms.TextInput()
    if spec.get("x-hc-secret"):
        widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"})
    elif spec.get("format") == "multiline":
        widget = forms.Textarea()
    elif spec.get("format") == "uri":
        widget = forms.URLInput()
    return forms.CharField(widget=widget, **common)
