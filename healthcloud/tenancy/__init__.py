"""Tenancy: an organization's environment is a PostgreSQL schema, entered only through tenant_scope."""
