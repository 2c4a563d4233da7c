"""The REST kit: principal, views, errors, pagination, idempotency, rate limits, OpenAPI."""
