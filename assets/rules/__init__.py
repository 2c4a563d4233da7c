"""The guideline engine: cited, versioned rule packs, evaluated with evidence in three values.

A rule is true, false or unknown: a finding that nobody recorded is not a negative finding. Packs
are YAML beside a vocabulary of inputs (`inputs.yaml`); `open_rules(folder)` reads and checks them,
`RuleBook.evaluate` turns resources into findings, findings into rule results with the resource
versions they rest on, and says which missing input would be the cheapest to get. Pure: no Django,
no clock, no network.
"""

from assets.rules.book import RuleBook, open_rules
from assets.rules.evaluation import PackEvaluation
from assets.rules.findings import Finding, Source
from assets.rules.intervals import Interval
from assets.rules.packs import PackError, RulePack

__all__ = [
    "Finding",
    "Interval",
    "PackError",
    "PackEvaluation",
    "RuleBook",
    "RulePack",
    "Source",
    "open_rules",
]
