"""The base of tenant tables, and the recorded DDL from which tenants are made."""

from django.db import models


class ProjectScoped(models.Model):
    """A row of a tenant that belongs to one project; row-level security reads `project_id`.

    The project lives in the public schema, and no foreign key crosses schemas: its id is kept.
    """

    project_id = models.CharField(max_length=40)

    class Meta:
        abstract = True


class TenantStatement(models.Model):
    """One statement of the tenant migrations, in the order in which the template ran them.

    New tenants replay all of them as one script; tenants that are behind replay what they miss.
    """

    app = models.CharField(max_length=255)
    migration = models.CharField(max_length=255)
    sql = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["app", "migration"], name="tenant_statement_migration")]

    def __str__(self) -> str:
        return f"{self.app}.{self.migration}: {self.sql[:60]}"
