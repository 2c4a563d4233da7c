"""A folder of rule packs, opened: the `rules` of an asset package's context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from assets.rules.evaluation import PackEvaluation, evaluate
from assets.rules.findings import collect
from assets.rules.inputs import Input
from assets.rules.packs import VOCABULARY, PackError, RulePack, read_inputs, read_packs
from assets.sdk import StoredResource


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The vocabulary and packs of one folder. Satisfies `sdk.RuleEngine`."""

    inputs: Mapping[str, Input]
    packs: Mapping[str, RulePack]

    def evaluate(
        self,
        pack: str,
        resources: Sequence[StoredResource],
        *,
        now: datetime,
        parameters: Mapping[str, object] | None = None,
    ) -> PackEvaluation:
        """Evaluate `pack` and the packs it uses over `resources`, as of `now`.

        `parameters` supply or override findings by name. Raises PackError for an unknown pack
        or parameter.
        """
        if pack not in self.packs:
            raise PackError(f"{pack}.yaml", [("file", "there is no such pack")])
        unknown = sorted(set(parameters or ()) - set(self.inputs))
        if unknown:
            raise PackError(VOCABULARY, [(name, "is not an input") for name in unknown])
        findings = collect(self.inputs, resources, now=now, parameters=parameters)
        return evaluate(self.packs[pack], self.packs, self.inputs, findings)


@lru_cache(maxsize=64)
def open_rules(folder: Path) -> RuleBook:
    """Return the rule book of `folder`; one without `inputs.yaml` is empty.

    Read once per process: a package's files do not change while it runs. PackError names the
    file and the field of every fault.
    """
    vocabulary = folder / VOCABULARY
    if not vocabulary.exists():
        return RuleBook({}, {})
    inputs = read_inputs(vocabulary)
    return RuleBook(inputs, read_packs(folder, inputs))
