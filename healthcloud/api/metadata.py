"""`metadata`: up to 50 pairs of text that callers keep on our objects."""

from typing import Final

from rest_framework import serializers

MAXIMUM_PAIRS: Final = 50
MAXIMUM_KEY: Final = 40
MAXIMUM_VALUE: Final = 500


def check_metadata(value: object) -> dict[str, str]:
    """Return the pairs; raise Django REST framework's ValidationError saying which one is wrong."""
    if not isinstance(value, dict):
        raise serializers.ValidationError("Send an object of text pairs.")
    if len(value) > MAXIMUM_PAIRS:
        raise serializers.ValidationError(f"Send at most {MAXIMUM_PAIRS} pairs.")
    for name, text in value.items():
        if not isinstance(name, str) or not 0 < len(name) <= MAXIMUM_KEY:
            raise serializers.ValidationError(f"A name has 1 to {MAXIMUM_KEY} characters.")
        if not isinstance(text, str) or len(text) > MAXIMUM_VALUE:
            raise serializers.ValidationError(
                {name: [f"A value is text of at most {MAXIMUM_VALUE} characters."]}
            )
    return dict(value)


class MetadataField(serializers.DictField):
    """A field of text pairs."""

    child = serializers.CharField()

    def to_internal_value(self, data: object) -> dict[str, str]:
        """Return the checked pairs."""
        return check_metadata(data)
