"""Shared fixtures: a database with two tenants, and the cast of Alice, Bob and Charlie.

Alice owns Riverside Health and Bob is a developer there; Charlie owns Lakeside Clinic. Both
organizations have a sandbox and a production, and projects with rows of the same primary keys,
so that a leak between tenants shows. Every test runs in a transaction that is rolled back.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker

from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

# A busy machine is no failed property: time limits of examples would only make tests flaky.
# The same examples each time; with HYPOTHESIS_PROFILE=explore new ones are looked for.
_PATIENT: Final[dict[str, Any]] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
}
hypothesis_settings.register_profile("house", derandomize=True, **_PATIENT)
hypothesis_settings.register_profile("explore", **_PATIENT)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


def _owner(database: str) -> psycopg.Connection:
    owner = settings.DATABASE_OWNER
    return psycopg.connect(
        host=owner["HOST"],
        port=owner["PORT"],
        user=owner["USER"],
        password=owner["PASSWORD"],
        dbname=database,
        autocommit=True,
    )


@dataclass(frozen=True)
class TestTenants:
    """Scopes of the four tenants of the session."""

    __test__ = False

    riverside: Scope
    riverside_production: Scope
    lakeside: Scope
    lakeside_production: Scope


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Create the session's own database, migrate it and provision the tenants."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    name = f"{os.environ.get('HEALTHCLOUD_TEST_DB', 'test_healthcloud')}_{worker}"
    maintenance = settings.DATABASE_OWNER["NAME"]
    identifier = sql.Identifier(name)
    with _owner(maintenance) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    # Processes that tests start get the database's URL and must log in as the same role.
    os.environ["HEALTHCLOUD_DATABASE_USER"] = settings.DATABASE_APPLICATION["USER"]
    settings.DATABASE_OWNER["NAME"] = name
    connections["default"].settings_dict["NAME"] = name
    connections.settings["default"]["NAME"] = name
    with django_db_blocker.unblock():
        _provision()
    yield
    with django_db_blocker.unblock():
        connections["default"].close()
    with _owner(maintenance) as admin:
        roles = _tenant_roles(name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
        for role in [name for schema in roles for name in (f"{schema}_narrow", schema)]:
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def _tenant_roles(database: str) -> list[str]:
    with _owner(database) as connection:
        rows = connection.execute("SELECT schema_name FROM organizations_environment").fetchall()
        loose = connection.execute(
            "SELECT nspname FROM pg_namespace n JOIN pg_roles r ON r.rolname = n.nspname"
            " WHERE nspname LIKE 't\\_%'"
        ).fetchall()
    return sorted({row[0] for row in [*rows, *loose]})


def _provision() -> None:
    from healthcloud.organizations.models import (
        Environment,
        Membership,
        Organization,
        Project,
        User,
    )
    from healthcloud.tenancy.provisioning import create_tenant, prepare

    prepare(report=lambda line: None)
    cast = {
        "riverside": ("Riverside Health", {"alice": "owner", "bob": "developer"}),
        "lakeside": ("Lakeside Clinic", {"charlie": "owner"}),
    }
    for slug, (name, members) in cast.items():
        organization = Organization.objects.create(id=f"org_{slug}", name=name, slug=slug)
        for kind in ("sandbox", "production"):
            environment = Environment.objects.create(
                id=f"env_{slug}_{kind}", organization=organization, kind=kind, status="active"
            )
            create_tenant(environment)
        for project in ("screening", "referrals"):
            Project.objects.create(
                id=f"proj_{slug}_{project}",
                organization=organization,
                name=project.title(),
                slug=project,
            )
        for person, role in members.items():
            user = User.objects.create(
                id=f"usr_{person}", email=f"{person}@example.com", name=person.title()
            )
            Membership.objects.create(organization=organization, user=user, role=role)


def _scope(organization: str, kind: str, project: str | None = "screening") -> Scope:
    from healthcloud.organizations.models import Environment, Project

    environment = Environment.objects.get(id=f"env_{organization}_{kind}")
    if project is None:
        return environment.scope()
    return environment.scope(Project.objects.get(id=f"proj_{organization}_{project}"))


@pytest.fixture
def tenants(db: None) -> TestTenants:
    """The scopes of all four tenants, each narrowed to the project `screening`."""
    return TestTenants(
        riverside=_scope("riverside", "sandbox"),
        riverside_production=_scope("riverside", "production"),
        lakeside=_scope("lakeside", "sandbox"),
        lakeside_production=_scope("lakeside", "production"),
    )


@pytest.fixture
def riverside_scope(tenants: TestTenants) -> Scope:
    """Alice's sandbox, project `screening`."""
    return tenants.riverside


@pytest.fixture
def riverside_production_scope(tenants: TestTenants) -> Scope:
    """Alice's production, project `screening`."""
    return tenants.riverside_production


@pytest.fixture
def riverside_referrals_scope(db: None) -> Scope:
    """Alice's sandbox, her other project."""
    return _scope("riverside", "sandbox", "referrals")


@pytest.fixture
def riverside_wide_scope(db: None) -> Scope:
    """Alice's sandbox without a project, as an organization-wide key has it."""
    return _scope("riverside", "sandbox", None)


@pytest.fixture
def lakeside_scope(tenants: TestTenants) -> Scope:
    """Charlie's sandbox, project `screening`."""
    return tenants.lakeside


@pytest.fixture
def in_riverside(riverside_scope: Scope) -> Iterator[Scope]:
    """Run the test inside Alice's sandbox."""
    with tenant_scope(riverside_scope) as scope:
        connections["default"].send_ahead()  # the scope's own statement is nobody's query
        yield scope


@pytest.fixture
def now() -> datetime:
    """The moment at which tests happen."""
    return NOW


@pytest.fixture
def alice_actor() -> Actor:
    """Alice as an actor."""
    return Actor(kind="user", id="usr_alice", label="Alice")


@pytest.fixture
def alice(db: None) -> object:
    """Alice, owner of Riverside Health."""
    from healthcloud.organizations.models import User

    return User.objects.get(id="usr_alice")


@pytest.fixture
def bob(db: None) -> object:
    """Bob, developer at Riverside Health."""
    from healthcloud.organizations.models import User

    return User.objects.get(id="usr_bob")


@pytest.fixture
def charlie(db: None) -> object:
    """Charlie, owner of Lakeside Clinic: the stranger in every test."""
    from healthcloud.organizations.models import User

    return User.objects.get(id="usr_charlie")


@pytest.fixture
def empty_ledger(db: None) -> None:
    """A ledger without what really committing tests of the same session left behind."""
    from healthcloud.ledger.models import DueWork

    DueWork.objects.all().delete()
