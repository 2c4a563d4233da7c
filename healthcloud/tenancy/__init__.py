"""Tenancy: an environment is a PostgreSQL schema, entered only by tenant_scope."""
