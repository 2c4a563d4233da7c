"""What the routes of assets read from request bodies."""

from rest_framework import serializers


class _Mapping(serializers.DictField):
    """A JSON object, its members unchecked: the asset's own schema checks them."""


class InstallBody(serializers.Serializer[object]):
    """`POST /v1/assets/install`."""

    asset_id = serializers.CharField(max_length=80)
    version = serializers.CharField(max_length=20, required=False)
    config = _Mapping(required=False)


class ConfigureBody(serializers.Serializer[object]):
    """`PATCH /v1/asset-installations/{id}`."""

    config = _Mapping()


class ConnectBody(serializers.Serializer[object]):
    """`PUT /v1/integrations/{slug}`."""

    config = _Mapping(required=False)
    credentials = _Mapping(required=False)


class DeployBody(serializers.Serializer[object]):
    """`POST /v1/deployments`."""

    asset_id = serializers.CharField(max_length=80)
    environment = serializers.CharField(max_length=20, required=False)
    config = _Mapping(required=False)
    metadata = serializers.DictField(
        child=serializers.CharField(max_length=500, allow_blank=True), required=False
    )

    def validate_metadata(self, value: dict[str, str]) -> dict[str, str]:
        """Refuse more than 50 pairs."""
        if len(value) > 50 or any(len(name) > 40 for name in value):
            raise serializers.ValidationError("At most 50 pairs, names of at most 40 characters.")
        return value


class RollbackBody(serializers.Serializer[object]):
    """`POST /v1/deployments/{id}/rollback`."""

    release = serializers.IntegerField(min_value=1, required=False)


class InvokeBody(serializers.Serializer[object]):
    """`POST /v1/deployments/{id}/invoke`."""

    action = serializers.CharField(max_length=60, required=False, allow_null=True)
    input = _Mapping(required=False)


class RunBody(serializers.Serializer[object]):
    """`POST /v1/agents/{slug}/runs`."""

    input = _Mapping()
