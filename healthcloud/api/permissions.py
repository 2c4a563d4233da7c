"""Deny by default: a view says which scope each method needs, or nobody gets in."""

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from healthcloud.api.principal import Principal
from healthcloud.errors import Forbidden, Unauthorized

if TYPE_CHECKING:  # settings name this class, so that importing views here would be a circle
    from rest_framework.views import APIView

NO_CREDENTIAL = (
    "Send an API key in the header `Authorization: Bearer hc_test_sk_…` (sandbox) or"
    " `hc_live_sk_…` (production)."
)
NO_ORGANIZATION = (
    "You are not a member of any organization. Create one with POST /v1/organizations, or accept"
    " an invitation."
)


class HasDeclaredScope(BasePermission):
    """Let a caller in who holds the scope that the view declares for this method."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Return True, or raise Unauthorized or Forbidden with what is missing."""
        method = "GET" if request.method == "HEAD" else str(request.method)
        declared = getattr(view, "scope_needed", None)
        needed = declared(method) if declared else None
        if needed is None:
            raise Forbidden("This route declares no scope for this method, so nobody may call it.")
        principal = request.auth
        if not isinstance(principal, Principal):
            if getattr(request.user, "is_authenticated", False):
                raise Forbidden(NO_ORGANIZATION)
            raise Unauthorized(NO_CREDENTIAL)
        if not principal.can(needed):
            raise Forbidden(
                f"This credential lacks the scope `{needed}`. Use one that holds it; it holds:"
                f" {', '.join(sorted(principal.scopes)) or 'none'}.",
                details={"required_scope": needed},
            )
        return True
