"""The database backend: django-tenants' with a transaction-local tenant context."""
