"""Forms from JSON Schema: fields, groups, and the schema's verdict on the right field."""

from assets import registry
from assets.forms import SchemaForm, credentials_form

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2, "x-hc-order": 3},
        "name": {"type": "string", "title": "Name", "minLength": 3, "x-hc-order": 1},
        "level": {"type": "integer", "minimum": 1, "x-hc-order": 2, "x-hc-group": "More"},
        "on": {"type": "boolean", "x-hc-order": 4},
        "kind": {"enum": ["a", "b"], "x-hc-order": 5},
        "lab": {"type": "string", "x-hc-ref": "connector:lab-results", "x-hc-order": 6},
        "extra": {"type": "object", "x-hc-order": 7},
    },
}


def test_fields_stand_in_order_and_groups() -> None:
    form = SchemaForm(SCHEMA, references={"connector:lab-results": [("quest", "Quest")]})
    assert list(form.fields) == ["name", "level", "tags", "on", "kind", "lab", "extra"]
    assert [title for title, _ in form.groups] == ["", "More"]
    assert form.fields["lab"].choices == [("", "—"), ("quest", "Quest")]


def test_what_was_entered_becomes_json_and_empty_fields_are_absent() -> None:
    data = {"name": "Ann", "level": "2", "tags": "x\n\ny", "kind": "", "extra": '{"a": 1}'}
    form = SchemaForm(SCHEMA, data=data)
    assert form.is_valid(), form.errors
    assert form.config() == {
        "name": "Ann",
        "level": 2,
        "tags": ["x", "y"],
        "on": False,
        "extra": {"a": 1},
    }


def test_the_schemas_verdict_stands_at_its_field() -> None:
    form = SchemaForm(SCHEMA, data={"name": "An", "level": "0", "tags": "x\ny\nz"})
    assert not form.is_valid()
    assert form.errors["name"] == ["Must have at least 3 characters."]
    assert form.errors["level"] == ["Must be at least 1."]
    assert set(form.errors) == {"name", "level", "tags"}


def test_secrets_are_never_shown() -> None:
    form = credentials_form(registry.get("quest").secrets, data={"client_secret": "abc"})
    assert form.is_valid()
    assert form.config() == {"client_secret": "abc"}
    assert "abc" not in form.as_p()
