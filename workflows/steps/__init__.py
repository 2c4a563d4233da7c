"""What steps do: one file per kind, each registering its effect here."""

from workflows.steps.registry import Call, Effect, Outside, Wait, effect_of

__all__ = ["Call", "Effect", "Outside", "Wait", "effect_of"]
