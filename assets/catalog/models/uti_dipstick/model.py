"""Little 2010's dipstick rule, invokable with findings; reads no record and writes nothing."""

from collections.abc import Iterator

from assets.sdk import Context, Json, Model, Probe, Result, probe

PACK = "little-2010-dipstick"
SYMPTOMS = (
    "dysuria",
    "frequency",
    "urgency",
    "nocturia",
    "suprapubic_pain",
    "gross_hematuria",
)
GIVEN = ("nitrite", "leukocyte_esterase", "blood", "pregnant", "catheter", "flank_pain")
WORDS = {"positive": True, "negative": False}


class UtiDipstick(Model):
    """Evaluates the rule; what is not given is unknown, and may leave the level open."""

    def check(self, context: Context) -> Iterator[Probe]:
        """Yield one probe: the rule pack can be read."""

        def evaluate() -> None:
            context.rules.evaluate(PACK, [], now=context.now)

        yield probe(context, "rules", evaluate, "The rule pack is valid.")

    def predict(self, context: Context, input: Json) -> Result:
        """Return level, probability (None where none is published), basis, rules and missing."""
        evaluation = context.rules.evaluate(PACK, [], now=context.now, parameters=findings(input))
        outputs = evaluation.outputs
        return Result(
            output={
                "level": outputs["level"] or "insufficient_data",
                "probability": outputs["probability"],
                "basis": outputs.get("basis") or None,
                "rationale": outputs.get("rationale") or None,
                "rule": outputs["rule"],
                "citation": outputs.get("citation"),
                "rules": {rule.id: rule.result for rule in evaluation.rules},
                "missing": [entry["input"] for entry in evaluation.missing],
            },
            rules=list(evaluation.rules),
            missing=list(evaluation.missing),
        )


def findings(input: Json) -> dict[str, object]:
    """Return the rule's findings; absent members stay unknown, a listed symptom is present."""
    found: dict[str, object] = {}
    if input.get("sex") in {"female", "male"}:
        found["female"] = input["sex"] == "female"
    if input.get("age") is not None:
        found["age"] = input["age"]
    symptoms = input.get("symptoms")
    if symptoms is not None:
        found |= {name: name in symptoms for name in SYMPTOMS}
    for name in GIVEN:
        value = input.get(name)
        if value is not None:
            found[name] = WORDS.get(value) if isinstance(value, str) else value
    if input.get("fever") is not None:
        found["fever_reported"] = input["fever"]
    return found
