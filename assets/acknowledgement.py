"""Tell vendors that what they sent is stored: after the commit, at least once, never before."""

from datetime import datetime

from assets import queries
from assets.models import Receipt, ReceiptStatus
from assets.runtime.context import context_of
from assets.sdk import AssetError, Connector
from healthcloud.tenancy.scope import Scope, tenant_scope


def acknowledge(*, scope: Scope, receipt_id: str, now: datetime) -> None:
    """Send one receipt's acknowledgement; one that was sent is not sent again.

    Raises AssetError as the connector does; a permanent one marks the receipt failed.
    """
    with tenant_scope(scope):
        receipt = Receipt.objects.select_related("deployment__installation").get(id=receipt_id)
        if receipt.status == ReceiptStatus.DONE:
            return
        release = queries.release(receipt.deployment, receipt.release_number)
        context = context_of(
            receipt.deployment,
            release,
            scope=scope,
            now=now,
            run_id="",
            idempotency_key=receipt.id,
        )
    connector = context.package.instantiate()
    if not isinstance(connector, Connector):
        raise TypeError(f"{context.asset_id} left a receipt but is no connector")
    try:
        connector.acknowledge(context, receipt.body)
    except AssetError as error:
        status = ReceiptStatus.PENDING if error.retryable else ReceiptStatus.FAILED
        _note(scope, receipt, status, error, now=now)
        raise
    _note(scope, receipt, ReceiptStatus.DONE, None, now=now)


def _note(
    scope: Scope,
    receipt: Receipt,
    status: ReceiptStatus,
    error: AssetError | None,
    *,
    now: datetime,
) -> None:
    with tenant_scope(scope):
        Receipt.objects.filter(id=receipt.id).update(
            status=status,
            error=error.as_dict() if error else None,
            done_at=now if status == ReceiptStatus.DONE else None,
        )
