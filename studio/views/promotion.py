"""Promoting a workflow from the sandbox to production, after a look at what production lacks."""

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from healthcloud.errors import Conflict
from healthcloud.tenancy.scope import tenant_scope
from studio.page import Page, studio_page
from workflows import queries
from workflows.promotion import promote


@studio_page("workflows", needs="workflow.write", tenant=False)
def promotion(page: Page, slug: str) -> HttpResponse:
    """Show what would go to production, and what is missing there."""
    with tenant_scope(page.scope, readonly=True):
        found = queries.workflow(slug)
        version = queries.version(found)
    _check_place(page)
    plan = promote(
        slug=slug, principal=page.principal, project=_project(page), now=page.now, dry_run=True
    )
    context: dict[str, object] = {
        "workflow": found,
        "version": version,
        "missing": plan.missing,
        "production_url": _in_production(page, "home"),
    }
    return page.render("studio/workflows/promotion.html", context)


@studio_page("workflows", needs="workflow.write", writes=True, tenant=False)
def promote_workflow(page: Page, slug: str) -> HttpResponse:
    """Publish the sandbox's published version in production, and go to it there."""
    _check_place(page)
    done = promote(
        slug=slug,
        principal=page.principal,
        project=_project(page),
        now=page.now,
        force=page.request.POST.get("force") == "yes",
    )
    if done.missing:
        page.warn(f"Promoted. {len(done.missing)} things are still missing in production.")
    else:
        page.say("Promoted. It is published in production.")
    return redirect(_in_production(page, "workflow", slug))


def _check_place(page: Page) -> None:
    if not page.is_sandbox:
        raise Conflict("This is production already. Promote from the sandbox.")


def _project(page: Page) -> tuple[str, int]:
    return page.project.id, page.project.number


def _in_production(page: Page, name: str, *args: object) -> str:
    place = (page.organization.slug, "production", page.project.slug)
    return reverse(f"studio:{name}", args=[*place, *args])
