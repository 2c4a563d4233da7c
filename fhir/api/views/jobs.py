"""Jobs over HTTP: state and result, files, cancellation. https://hl7.org/fhir/R4/async.html"""

import gzip
from typing import Final

from django.http import HttpResponse
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from fhir import jobs
from fhir.api.access import require
from fhir.api.base import FhirView
from fhir.api.outcomes import information
from fhir.errors import ResourceNotFound
from fhir.jobs.table import file_content
from healthcloud.api.principal import ANY_SCOPE

NDJSON: Final = "application/fhir+ndjson"
_RETRY_AFTER_SECONDS: Final = 2


class JobView(FhirView):
    """`/v1/fhir/_jobs/{id}`; the scopes that count are those the job was started with."""

    required_scopes = {"GET": ANY_SCOPE, "DELETE": ANY_SCOPE}

    @extend_schema(
        responses={
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "application/fhir+json"): OpenApiTypes.OBJECT,
        }
    )
    def get(self, request: Request, id: str) -> HttpResponse:
        """Answer 202 while the job goes on, then its result."""
        job = visible_job(self, id)
        expires = {"Expires": http_date(job.expires.timestamp())}
        if job.is_ended:
            return self.answer(job.result or {}, status=job.status, headers=expires)
        headers = {
            "X-Progress": (job.progress or job.state)[:100],
            "Retry-After": str(_RETRY_AFTER_SECONDS),
        }
        return self.answer(None, status=202, headers=headers | expires)

    def delete(self, request: Request, id: str) -> HttpResponse:
        """End the job and delete its output."""
        visible_job(self, id)
        jobs.cancel(job_id=id, actor=self.actor, now=self.now)
        return self.answer(information("The job and its output are deleted."), status=202)


class JobFileView(FhirView):
    """`/v1/fhir/_jobs/{id}/{number}`: a part of the output."""

    required_scopes = {"GET": ANY_SCOPE}

    def is_acceptable(self, wanted: str) -> bool:
        """Accept NDJSON, whatever it is called."""
        return "ndjson" in wanted or "json" in wanted

    @extend_schema(responses={(200, NDJSON): OpenApiTypes.STR})
    def get(self, request: Request, id: str, number: int) -> HttpResponse:
        """Answer newline-delimited JSON."""
        visible_job(self, id)
        content = file_content(id, number) if number < 2**31 else None
        if content is None:
            raise ResourceNotFound("_jobs", f"{id}/{number}")
        headers = {"Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            content = gzip.compress(content, compresslevel=1, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return HttpResponse(content, content_type=NDJSON, headers=headers)


def visible_job(view: FhirView, job_id: str) -> jobs.Job:
    """Return a job that the caller may see; raise ResourceNotFound or Forbidden."""
    if view.principal.is_narrowed:  # no job was narrowed as its caller is
        raise ResourceNotFound("_jobs", job_id)
    job = jobs.require(job_id)
    is_own = bool(job.request.get("sight")) and job.actor.id == view.actor.id
    if view.scope.sight and not is_own:  # what Consents hold back from one, another may have seen
        raise ResourceNotFound("_jobs", job_id)
    for scope in job.scopes:
        require(view.principal, scope)
    return job
