"""`/v1/dead-letters`: work that was given up after its last attempt."""

from typing import Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.views import NO_METHODS, PlatformView
from healthcloud.events import dead_letters
from healthcloud.ledger import queries
from healthcloud.ledger.models import DueWork
from healthcloud.tenancy.scope import public_scope

_SCOPE: Final = "org:admin"
_PARAMETERS: Final = [
    OpenApiParameter("kind", str, description="One kind of work, such as `connector.acknowledge`."),
    *PAGE,
]


class DeadLetterListView(PlatformView):
    """The dead letters of a project; without a project, of the whole environment."""

    required_scopes = {"GET": _SCOPE}
    project_required = NO_METHODS

    @extend_schema(parameters=_PARAMETERS)
    def get(self, request: Request) -> Response:
        """List dead letters, newest first; `kind` filters."""
        with public_scope():
            rows = queries.dead_letters_of(self.scope)
            if kind := request.query_params.get("kind"):
                rows = rows.filter(kind=kind)
            page = paginate(rows, request, serialize=self._serialize, order=("-id",))
        return Response(page)

    def _serialize(self, letter: DueWork) -> dict[str, object]:
        return dead_letters.as_dict(letter, self.scope)


class DeadLetterView(PlatformView):
    """One dead letter."""

    required_scopes = {"GET": _SCOPE, "DELETE": _SCOPE}
    project_required = NO_METHODS

    def get(self, request: Request, letter_id: int) -> Response:
        """Return a dead letter."""
        return Response(dead_letters.as_dict(dead_letters.find(letter_id), self.scope))

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, letter_id: int) -> Response:
        """Throw the work away for good."""
        dead_letters.discard(letter_id=letter_id, actor=self.actor, now=self.now)
        return Response({"id": letter_id, "object": "dead_letter", "deleted": True})


class ReplayView(PlatformView):
    """Bringing a dead letter back."""

    required_scopes = {"POST": _SCOPE}
    project_required = NO_METHODS

    @extend_schema(request=None, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, letter_id: int) -> Response:
        """Make the work due again, with all its attempts."""
        letter = dead_letters.replay(letter_id=letter_id, actor=self.actor, now=self.now)
        return Response(dead_letters.as_dict(letter, self.scope), status=202)
