"""`/v1/workflows/{slug}/triggers`, and `/v1/hooks/…`: the addresses that webhook triggers have."""

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api.pagination import paginate
from healthcloud.api.views import NO_METHODS, PlatformView
from workflows import queries
from workflows.api import represent
from workflows.models import Trigger
from workflows.triggers import hooks
from workflows.triggers.services import rotate_secret


class Triggers(PlatformView):
    """What starts a workflow."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    project_required = frozenset({"GET"})

    def get(self, request: Request, slug: str) -> Response:
        """List the triggers in force, with the address of each webhook."""
        rows = Trigger.objects.filter(workflow=queries.workflow(slug))
        environment = self.scope.environment_id

        def serialize(item: Trigger) -> dict[str, Any]:
            return represent.trigger(item, environment)

        return Response(paginate(rows, request, serialize=serialize, order=("name", "id")))


class RotateTriggerSecret(PlatformView):
    """The secret of a webhook trigger."""

    required_scopes: ClassVar = {"POST": "workflows:write"}

    @extend_schema(request=None)
    def post(self, request: Request, slug: str, name: str) -> Response:
        """Make a new secret, which is answered this once; the one before no longer works."""
        workflow = queries.workflow(slug)
        secret = rotate_secret(workflow=workflow, name=name, actor=self.actor, now=self.now)
        return Response({"object": "workflow_trigger_secret", "name": name, "secret": secret})


class Hook(PlatformView):
    """The address of a webhook trigger: no key, but a signature."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    own_transaction = frozenset({"POST"})
    idempotent = NO_METHODS

    @extend_schema(request=OpenApiTypes.OBJECT, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, environment_id: str, trigger_id: str) -> Response:
        """Start a run: 202. Sign as Standard Webhooks do, or send `Authorization: Bearer`."""
        run = hooks.receive(
            environment_id=environment_id,
            trigger_id=trigger_id,
            headers={name.lower(): value for name, value in request.headers.items()},
            content=request._request.body,
            body=self.body,
            now=self.now,
        )
        started = {"object": "workflow_run", "id": run.id if run else None}
        return Response({**started, "started": run is not None}, status=202)
