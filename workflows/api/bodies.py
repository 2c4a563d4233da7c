"""What the routes of workflows read from request bodies."""

from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

from healthcloud.errors import ValidationFailed

# Members of the body that are not part of a definition.
_BESIDE: Final = frozenset({"project_id", "environment", "revision", "publish"})


class _Mapping(serializers.DictField):
    """A JSON object, its members unchecked: the workflow's own schema checks them."""


def _metadata() -> serializers.DictField:
    return serializers.DictField(
        child=serializers.CharField(max_length=500, allow_blank=True), required=False
    )


class RunBody(serializers.Serializer[object]):
    """`POST /v1/workflows/run`."""

    workflow_id = serializers.CharField(max_length=80)
    input = _Mapping(required=False)
    wait = serializers.FloatField(min_value=0, max_value=30, required=False)
    metadata = _metadata()

    def validate_metadata(self, value: dict[str, str]) -> dict[str, str]:
        """Refuse more than 50 pairs."""
        if len(value) > 50 or any(len(name) > 40 for name in value):
            raise serializers.ValidationError("At most 50 pairs, names of at most 40 characters.")
        return value


class PublishBody(serializers.Serializer[object]):
    """`POST /v1/workflows/{slug}/publish`; `version` publishes an earlier version again."""

    notes = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    version = serializers.IntegerField(min_value=1, required=False)


class RetryBody(serializers.Serializer[object]):
    """`POST /v1/workflows/runs/{id}/retry`."""

    from_step = serializers.CharField(max_length=63, required=False)
    version = serializers.IntegerField(min_value=1, required=False)


class RerunBody(serializers.Serializer[object]):
    """`POST /v1/workflows/runs/{id}/rerun`; without `input` the run's own is used again."""

    input = _Mapping(required=False)


class PromoteBody(serializers.Serializer[object]):
    """`POST /v1/workflows/{slug}/promote`."""

    version = serializers.IntegerField(min_value=1, required=False)
    definition = _Mapping(required=False)
    force = serializers.BooleanField(required=False)
    dry_run = serializers.BooleanField(required=False)


class TemplateBody(serializers.Serializer[object]):
    """`POST /v1/workflows/templates/{template_id}`."""

    answers = _Mapping(required=False)
    slug = serializers.CharField(max_length=63, required=False)
    publish = serializers.BooleanField(required=False)


class SignalBody(serializers.Serializer[object]):
    """`POST /v1/workflows/runs/{id}/signal`."""

    name = serializers.RegexField(r"^[A-Za-z][\w.-]{0,62}$")
    payload = serializers.JSONField(required=False, allow_null=True)


class DecideBody(serializers.Serializer[object]):
    """`POST /v1/tasks/{id}/decide`."""

    decision = serializers.ChoiceField(["approved", "rejected"])
    data = serializers.JSONField(required=False, allow_null=True)  # type: ignore[assignment]  # a member named like an attribute
    comment = serializers.CharField(max_length=5000, required=False, allow_blank=True)


class DefinitionBody(serializers.Serializer[object]):
    """A definition (see `/v1/workflows/schema.json`); for the documentation of the API."""

    slug = serializers.CharField(max_length=63)
    name = serializers.CharField(required=False)
    description = serializers.CharField(required=False)
    input_schema = _Mapping(required=False)
    triggers = serializers.ListField(child=_Mapping(), required=False)
    steps = serializers.ListField(child=_Mapping())
    output = serializers.JSONField(required=False)
    revision = serializers.IntegerField(required=False)
    publish = serializers.BooleanField(required=False)


def flag_in(body: Mapping[str, Any], name: str) -> bool:
    """Return what stands beside a definition: true or false, false when it is not there."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValidationFailed(f"`{name}` is true or false.", param=name)
    return value is True


def definition_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition that a body is, without what stands beside it."""
    return {name: value for name, value in body.items() if name not in _BESIDE}
