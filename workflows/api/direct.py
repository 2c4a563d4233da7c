"""The start of a run without Django's middleware: one group of statements, of a known workflow."""

import re
from typing import Final

from healthcloud.organizations.direct import DirectRoute
from workflows.api.runs import StartRun

ROUTES: Final = (DirectRoute(frozenset({"POST"}), re.compile("/v1/workflows/run"), StartRun),)
