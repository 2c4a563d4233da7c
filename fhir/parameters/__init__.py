"""Search parameters of a project's own: SearchParameter resources that searches use.

https://hl7.org/fhir/R4/searchparameter.html

A SearchParameter with the status `active` is compiled as R4's own are. From its transaction on
every write in its project is indexed by it, in whatever process: the writing statement itself
checks which parameters its rows were indexed by. What was stored before is indexed by a job
(`fhir.parameters.reindexing`); until that has ended the parameter can't be searched by.
"""

from fhir.parameters.known import (
    Known,
    current,
    custom_parameter,
    custom_references,
    outdated,
    recall,
)

__all__ = ["Known", "current", "custom_parameter", "custom_references", "outdated", "recall"]
