"""Jobs: what a request asked to be done later. https://hl7.org/fhir/R4/async.html

`start` writes a job and its due work in the request's transaction; a worker carries it step by
step, each step a transaction that also keeps the position, so that a killed worker loses one step
at most; `/v1/fhir/_jobs/{id}` answers state and result. A kind of job is a function registered
with `fhir.jobs.kinds.register`.
"""

from fhir.jobs.kinds import Finished, Step, Unfinished, register
from fhir.jobs.service import cancel, start
from fhir.jobs.table import File, Job, add_file, files, find, require

__all__ = [
    "File",
    "Finished",
    "Job",
    "Step",
    "Unfinished",
    "add_file",
    "cancel",
    "files",
    "find",
    "register",
    "require",
    "start",
]
