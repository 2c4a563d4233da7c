"""Webhooks: endpoints, their deliveries, secrets shown once."""

from django.http import HttpResponse

from healthcloud.events import webhooks as services
from healthcloud.events.models import Webhook
from studio.calls import ApiCall
from studio.forms import WebhookForm
from studio.handover import hand_over, take
from studio.page import Page, studio_page
from studio.paging import page_of

ISSUED = "studio_issued_webhook"


@studio_page("webhooks", needs="event.read")
def webhooks(page: Page) -> HttpResponse:
    """List the project's webhooks, and offer a new one."""
    body: dict[str, object] = {"url": "https://example.org/healthcloud", "types": ["workflow.*"]}
    context: dict[str, object] = {
        "webhooks": Webhook.objects.order_by("-created_at", "-id"),
        "form": WebhookForm(),
        "call": ApiCall("POST", "/v1/webhooks", body),
        "can_write": page.can("webhook.write"),
    }
    return page.render("studio/events/webhooks.html", context)


@studio_page("webhooks", needs="webhook.write", writes=True)
def create_webhook(page: Page) -> HttpResponse:
    """Create a webhook; its secret is shown once."""
    form = WebhookForm(page.request.POST)
    if not form.is_valid():
        return page.refuse(form, "webhooks")
    webhook, secret = services.create_webhook(
        url=form.cleaned_data["url"],
        types=[part.strip() for part in form.cleaned_data["types"].split(",") if part.strip()],
        description=form.cleaned_data["description"],
        metadata={},
        actor=page.actor,
        now=page.now,
    )
    hand_over(page, ISSUED, webhook_id=webhook.id, secret=secret)
    return page.redirect("webhook", webhook.id)


@studio_page("webhooks", needs="event.read")
def webhook(page: Page, webhook_id: str) -> HttpResponse:
    """Show a webhook with its deliveries."""
    found = Webhook.objects.filter(id=webhook_id).first()
    if found is None:
        raise services.WebhookNotFound(webhook_id)
    rows, next_url = page_of(
        page, found.deliveries.select_related("event").order_by("-created_at", "-id")
    )
    issued = take(page, ISSUED)
    context: dict[str, object] = {
        "webhook": found,
        "deliveries": rows,
        "next_url": next_url,
        "secret": issued["secret"] if issued and issued["webhook_id"] == webhook_id else None,
        "can_write": page.can("webhook.write"),
    }
    return page.render("studio/events/webhook.html", context)


@studio_page("webhooks", needs="webhook.write", writes=True)
def rotate_webhook(page: Page, webhook_id: str) -> HttpResponse:
    """Give a webhook a new secret; the old one signs too for 24 hours."""
    _, secret = services.rotate_secret(webhook_id=webhook_id, actor=page.actor, now=page.now)
    hand_over(page, ISSUED, webhook_id=webhook_id, secret=secret)
    return page.redirect("webhook", webhook_id)


@studio_page("webhooks", needs="webhook.write", writes=True)
def test_webhook(page: Page, webhook_id: str) -> HttpResponse:
    """Send a test event to this webhook alone."""
    services.send_test(webhook_id=webhook_id, actor=page.actor, now=page.now)
    page.say("A test event is on its way.")
    return page.redirect("webhook", webhook_id)


@studio_page("webhooks", needs="webhook.write", writes=True)
def set_webhook_status(page: Page, webhook_id: str) -> HttpResponse:
    """Activate or disable a webhook."""
    status = page.request.POST.get("status", "")
    wanted = status if status in Webhook.Status.values else Webhook.Status.DISABLED
    services.update_webhook(
        webhook_id=webhook_id, changes={"status": wanted}, actor=page.actor, now=page.now
    )
    page.say("The webhook is active." if wanted == "active" else "The webhook is disabled.")
    return page.redirect("webhook", webhook_id)


@studio_page("webhooks", needs="webhook.write", writes=True)
def delete_webhook(page: Page, webhook_id: str) -> HttpResponse:
    """Delete a webhook with its deliveries."""
    services.delete_webhook(webhook_id=webhook_id, actor=page.actor, now=page.now)
    page.say("The webhook is deleted.")
    return page.redirect("webhooks")


@studio_page("webhooks", needs="webhook.write", writes=True)
def redeliver(page: Page, webhook_id: str, delivery_id: str) -> HttpResponse:
    """Send one event again."""
    services.redeliver(
        webhook_id=webhook_id, delivery_id=delivery_id, actor=page.actor, now=page.now
    )
    page.say("The event is on its way again, with the same id.")
    return page.redirect("webhook", webhook_id)
