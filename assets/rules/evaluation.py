"""Evaluate a rule pack over findings: results, what they rest on, and what is missing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from assets.rules.expressions import NOTHING, Outcome, Value
from assets.rules.findings import Finding
from assets.rules.inputs import Input
from assets.rules.intervals import Truth
from assets.rules.packs import Exclusion, Rule, RulePack
from assets.sdk import Evidence, Json, RuleOutcome


@dataclass(frozen=True, slots=True)
class RuleResult:
    """A rule's truth, the inputs that decided it, the inputs that could decide it."""

    pack: RulePack
    rule: Rule
    value: Truth
    support: frozenset[str]
    missing: frozenset[str]
    detail: str = ""

    @property
    def reference(self) -> str:
        """`little-2010-dipstick/nitrite_and_another`."""
        return f"{self.pack.id}/{self.rule.id}"


@dataclass(frozen=True, slots=True)
class PackEvaluation:
    """What a pack, and the packs it uses, say about the findings. Satisfies `sdk.Evaluation`."""

    pack: RulePack
    inputs: Mapping[str, Input]
    findings: Mapping[str, Finding]
    results: tuple[RuleResult, ...]
    origins: Mapping[str, RuleResult] = field(default_factory=dict)

    @property
    def rules(self) -> list[RuleOutcome]:
        """Every evaluated rule, used packs first."""
        return [self._outcome(result) for result in self.results]

    @property
    def own(self) -> list[RuleResult]:
        """The results of the pack itself."""
        return [result for result in self.results if result.pack is self.pack]

    @property
    def conclusion(self) -> RuleResult | None:
        """The first true rule of the pack that states a level."""
        stating = (r for r in self.own if r.value is True and "level" in r.rule.output)
        return next(stating, None)

    @property
    def facts(self) -> dict[str, bool | None]:
        """The boolean findings by name."""
        return {
            name: finding.value if isinstance(finding.value, bool) else None
            for name, finding in self.findings.items()
            if self.inputs[name].value_kind == "boolean"
        }

    @property
    def outputs(self) -> Json:
        """The level with its probability, basis, rationale and rule; and every true output."""
        said: Json = {
            result.reference: dict(result.rule.output)
            for result in self.results
            if result.value is True and result.rule.output
        }
        concluded = self.conclusion
        if concluded is None:
            level: Json = {"level": None, "probability": None, "rule": None}
        else:
            origin = self.origin(concluded)
            level = {"level": None, "probability": None, "basis": "", "rationale": ""}
            level |= {k: v for k, v in origin.rule.output.items() if k in level}
            level |= {k: v for k, v in concluded.rule.output.items() if k in level}
            level |= {"rule": origin.reference, "citation": origin.rule.citation.as_dict()}
        return {**level, "true": said}

    @property
    def missing(self) -> list[Json]:
        """The inputs that undecided rules wait for, those that could change the level first.

        Each with the cheapest way to get it; `note` tells stale and unusable data from none.
        """
        waiting: dict[str, list[str]] = {}
        for result in self.results:
            for name in result.missing:
                waiting.setdefault(name, []).append(result.reference)
        decisive = self._decisive()
        entries = [
            self._missing_entry(name, sorted(set(rules)), name in decisive)
            for name, rules in waiting.items()
        ]
        return sorted(
            entries, key=lambda e: (not e["decisive"], e["next_test"]["cost"], e["input"])
        )

    def evidence(self) -> list[Evidence]:
        """Return the resource versions behind the decided rules, with the rules that used them."""
        used: dict[tuple[str, int], set[str]] = {}
        for result in self.results:
            if result.value is None:
                continue
            for name in result.support:
                for source in self.findings[name].sources:
                    key = (source.reference, source.version)
                    used.setdefault(key, set()).add(result.reference)
        return [
            Evidence(reference, version, tuple(sorted(rules)))
            for (reference, version), rules in sorted(used.items())
        ]

    def origin(self, result: RuleResult) -> RuleResult:
        """Return the rule of a used pack that `result` takes its output from, or itself."""
        return self.origins.get(result.rule.output.get("from", ""), result)

    def _decisive(self) -> frozenset[str]:
        concluded = self.conclusion
        earlier: list[RuleResult] = []
        for result in self.own:
            if result is concluded:
                break
            if "level" in result.rule.output:
                earlier.append(result)
        return NOTHING.union(*(result.missing for result in earlier))

    def _missing_entry(self, name: str, rules: Sequence[str], decisive: bool) -> Json:
        definition = self.inputs[name]
        test = definition.next_test
        return {
            "input": name,
            "title": definition.title,
            "note": self.findings[name].note or "not recorded",
            "decisive": decisive,
            "rules": list(rules),
            "next_test": {"text": test.text, "cost": test.cost, "code": test.code},
        }

    def _outcome(self, result: RuleResult) -> RuleOutcome:
        references = {
            f"{source.reference}/_history/{source.version}"
            for name in result.support
            for source in self.findings[name].sources
        }
        return RuleOutcome(
            id=result.reference,
            version=result.pack.version,
            result=result.value,
            title=result.rule.title,
            citation=result.rule.citation.as_dict(),
            inputs=tuple(sorted(references)),
            detail=result.detail,
        )


def evaluate(
    pack: RulePack,
    packs: Mapping[str, RulePack],
    inputs: Mapping[str, Input],
    findings: Mapping[str, Finding],
) -> PackEvaluation:
    """Evaluate `pack` and the packs it uses over `findings`. Pure and deterministic."""
    evaluator = _Evaluator(packs, findings)
    evaluator.evaluate(pack)
    origins = {
        f"{alias}.{result.rule.id}": result
        for alias, used in pack.uses.items()
        for result in evaluator.done[used]
    }
    results = tuple(result for group in evaluator.done.values() for result in group)
    return PackEvaluation(pack, inputs, findings, results, origins)


class _Evaluator:
    """Evaluates packs in the order of their use, each once."""

    def __init__(self, packs: Mapping[str, RulePack], findings: Mapping[str, Finding]) -> None:
        self.packs = packs
        self.findings = findings
        self.done: dict[str, list[RuleResult]] = {}

    def evaluate(self, pack: RulePack) -> None:
        if pack.id in self.done:
            return
        known: dict[str, Outcome] = {}
        for alias, used in pack.uses.items():
            self.evaluate(self.packs[used])
            for result in self.done[used]:
                outcome = Outcome(result.value, result.support, result.missing)
                known[f"{alias}.{result.rule.id}"] = outcome
        for name, definition in pack.definitions.items():
            known[name] = self._expanded(definition.evaluate(self._lookup(known)), known)
        excluded = self._exclusion(pack.exclusions, known)
        self.done[pack.id] = [
            self._result(pack, rule, known, excluded or self._exclusion(rule.exclusions, known))
            for rule in pack.rules
        ]

    def _lookup(self, known: Mapping[str, Outcome]) -> "_Lookup":
        return _Lookup(known, self.findings)

    def _exclusion(self, exclusions: Iterable[Exclusion], known: Mapping[str, Outcome]) -> str:
        for exclusion in exclusions:
            if exclusion.when.evaluate(self._lookup(known)).value is True:
                return exclusion.because
        return ""

    def _result(
        self, pack: RulePack, rule: Rule, known: Mapping[str, Outcome], excluded: str
    ) -> RuleResult:
        if excluded:
            return RuleResult(pack, rule, None, NOTHING, NOTHING, f"does not apply: {excluded}")
        outcome = self._expanded(rule.when.evaluate(self._lookup(known)), known)
        return RuleResult(pack, rule, *outcome)

    def _expanded(self, outcome: Outcome, known: Mapping[str, Outcome]) -> Outcome:
        """Replace definitions and rules by the inputs that stand behind them."""
        support = _behind(outcome.support, known, lambda o: o.support)
        missing = _behind(outcome.missing, known, lambda o: o.missing)
        return Outcome(outcome.value, support, missing if outcome.value is None else NOTHING)


class _Lookup:
    """Values by name: inputs, definitions, and rules of used packs."""

    def __init__(self, known: Mapping[str, Outcome], findings: Mapping[str, Finding]) -> None:
        self.known = known
        self.findings = findings

    def __call__(self, name: str) -> Value:
        if name in self.known:
            return self.known[name].value
        return self.findings[name].value


def _behind(
    names: Iterable[str], known: Mapping[str, Outcome], part: Callable[[Outcome], frozenset[str]]
) -> frozenset[str]:
    found: set[str] = set()
    for name in names:
        found |= part(known[name]) if name in known else {name}
    return frozenset(found)
