"""`/v1/workflows`: definitions, versions, publishing, validation, import and export."""

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.principal import ANY_SCOPE
from healthcloud.api.views import PlatformView
from healthcloud.errors import BadRequest
from healthcloud.numbers import number_of
from workflows import promotion, queries, schema, services, templates
from workflows.api import documentation, represent
from workflows.api.bodies import (
    DefinitionBody,
    PromoteBody,
    PublishBody,
    TemplateBody,
    definition_in,
    flag_in,
)


class Workflows(PlatformView):
    """The project's workflows."""

    required_scopes: ClassVar = {"GET": "workflows:read", "POST": "workflows:write"}

    @extend_schema(parameters=PAGE)
    def get(self, request: Request) -> Response:
        """List workflows, newest first."""
        return Response(paginate(queries.workflows(), request, serialize=represent.workflow))

    @extend_schema(request=DefinitionBody, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        """Create a workflow; the body is its definition. `publish: true` makes it version 1."""
        created = services.create_workflow(
            definition=definition_in(self.body),
            publish=flag_in(self.body, "publish"),
            actor=self.actor,
            now=self.now,
        )
        return Response(represent.workflow_detail(created), status=201)


class WorkflowDetail(PlatformView):
    """One workflow, by slug."""

    required_scopes: ClassVar = {
        "GET": "workflows:read",
        "PUT": "workflows:write",
        "DELETE": "workflows:write",
    }
    project_required = frozenset({"GET", "PUT", "DELETE"})

    def get(self, request: Request, slug: str) -> Response:
        """Return a workflow with its draft."""
        return Response(represent.workflow_detail(queries.workflow(slug)))

    @extend_schema(request=DefinitionBody)
    def put(self, request: Request, slug: str) -> Response:
        """Replace the draft; `revision` makes sure that nobody else changed it meanwhile.

        `publish: true` makes it the next version.
        """
        saved = services.save_draft(
            slug=slug,
            definition=definition_in(self.body),
            revision=_revision(self.body),
            publish=flag_in(self.body, "publish"),
            actor=self.actor,
            now=self.now,
        )
        return Response(represent.workflow_detail(saved))

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, slug: str) -> Response:
        """Delete a workflow; its runs stay."""
        services.delete_workflow(slug=slug, actor=self.actor, now=self.now)
        return Response({"id": slug, "object": "workflow", "deleted": True})


class Versions(PlatformView):
    """The published versions of a workflow."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    project_required = frozenset({"GET"})

    @extend_schema(parameters=PAGE)
    def get(self, request: Request, slug: str) -> Response:
        """List versions, newest first."""
        rows = queries.versions(queries.workflow(slug))
        order = ("-published_at", "-id")
        return Response(paginate(rows, request, serialize=represent.version, order=order))


class Publish(PlatformView):
    """Publishing."""

    required_scopes: ClassVar = {"POST": "workflows:write"}

    @extend_schema(request=PublishBody)
    def post(self, request: Request, slug: str) -> Response:
        """Publish the draft as the next version, or an earlier `version` again."""
        data: dict[str, Any] = self.validated(PublishBody)
        published = services.publish_version(
            slug=slug,
            number=data.get("version"),
            notes=data.get("notes", ""),
            actor=self.actor,
            now=self.now,
        )
        return Response(represent.workflow_detail(published))


class Difference(PlatformView):
    """What differs between two versions."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    project_required = frozenset({"GET"})

    @extend_schema(parameters=documentation.DIFFERENCE)
    def get(self, request: Request, slug: str) -> Response:
        """List the changes `from` one version (the published one) `to` another (the draft)."""
        query = request.query_params
        return Response(
            queries.difference(
                queries.workflow(slug),
                number_in(query.get("from"), "from"),
                number_in(query.get("to"), "to"),
            )
        )


class Promote(PlatformView):
    """From the sandbox to production."""

    required_scopes: ClassVar = {"POST": "workflows:write"}
    own_transaction = frozenset({"POST"})

    @extend_schema(request=PromoteBody)
    def post(self, request: Request, slug: str) -> Response:
        """Publish a version in production; `dry_run` only lists what is missing there."""
        data: dict[str, Any] = self.validated(PromoteBody)
        data["number"] = data.pop("version", None)
        project = (str(self.scope.project_id), int(self.scope.project_number or 0))
        promoted = promotion.promote(
            slug=slug, principal=self.principal, project=project, now=self.now, **data
        )
        return Response(represent.promotion(slug, promoted))


class Templates(PlatformView):
    """Ready-made workflows."""

    required_scopes: ClassVar = {"GET": "workflows:read"}

    def get(self, request: Request) -> Response:
        """List the templates: definitions, and the questions whose answers complete them."""
        return Response({"data": templates.all_templates()})


class FromTemplate(PlatformView):
    """A workflow from a template."""

    required_scopes: ClassVar = {"POST": "workflows:write"}

    @extend_schema(request=TemplateBody, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: Request, template_id: str) -> Response:
        """Create a workflow from a template and the answers to its questions."""
        data: dict[str, Any] = self.validated(TemplateBody)
        definition = templates.complete(template_id, data.get("answers", {}), data.get("slug"))
        created = services.create_workflow(
            definition=definition,
            publish=data.get("publish", False),
            source=f"template:{template_id}",
            actor=self.actor,
            now=self.now,
        )
        return Response(represent.workflow_detail(created), status=201)


class Validate(PlatformView):
    """Checking a definition without saving it."""

    required_scopes: ClassVar = {"POST": "workflows:read"}
    idempotent = frozenset()

    @extend_schema(request=DefinitionBody)
    def post(self, request: Request, slug: str | None = None) -> Response:
        """List all problems of the definition in the body, or of the draft without a body."""
        source = definition_in(self.body)
        if not source and slug is not None:
            source = queries.workflow(slug).draft
        definition, problems = services.check(source)
        found = [problem.as_dict() for problem in problems]
        return Response({"valid": definition is not None, "problems": found})


class Export(PlatformView):
    """The definition as a document."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    project_required = frozenset({"GET"})

    @extend_schema(parameters=documentation.EXPORT)
    def get(self, request: Request, slug: str) -> Response:
        """Return the published definition (`?version=2` or `draft` another), as import takes it."""
        found = queries.workflow(slug)
        wanted = request.query_params.get("version")
        number = number_in(wanted, "version")
        is_draft = wanted == "draft" or (number is None and found.published_number is None)
        definition = found.draft if is_draft else queries.version(found, number).definition
        return Response({"definition": definition})


class Import(PlatformView):
    """A definition from elsewhere."""

    required_scopes: ClassVar = {"POST": "workflows:write"}

    @extend_schema(request=DefinitionBody, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        """Create the workflow, or replace the draft of the one with the same slug.

        `publish: true` makes it the published version.
        """
        body = self.body.get("definition", definition_in(self.body))
        if not isinstance(body, dict):
            raise BadRequest("`definition` is an object.", param="definition")
        saved = services.import_definition(
            definition=body,
            publish=flag_in(self.body, "publish"),
            actor=self.actor,
            now=self.now,
        )
        return Response(represent.workflow_detail(saved), status=201)


class Schema(PlatformView):
    """The JSON Schema of definitions."""

    required_scopes: ClassVar = {"GET": ANY_SCOPE}

    def get(self, request: Request) -> Response:
        """Return the schema that API, import and Studio share."""
        return Response(schema.json_schema())


def number_in(text: str | None, name: str) -> int | None:
    """Return a version's number in the query, None where none is named."""
    if text is None or text == "draft":
        return None
    number = number_of(text)
    if number is None:
        raise BadRequest(f"`{name}` is a number, or `draft`.", param=name)
    return number


def _revision(body: dict[str, object]) -> int | None:
    revision = body.get("revision")
    if revision is None or (isinstance(revision, int) and not isinstance(revision, bool)):
        return revision
    raise BadRequest("`revision` is a number.", param="revision")
