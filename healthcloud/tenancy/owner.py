"""The owner's connection: the only one that may create schemas, roles and tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from django.conf import settings
from django.db import connections

from healthcloud.tenancy.backend.base import DatabaseWrapper


@contextmanager
def owner_connection() -> Iterator[DatabaseWrapper]:
    """Yield a connection of the schemas' owner that stands in as this thread's `default`.

    The application's own connection, and a transaction that is open on it, stay untouched and
    are back afterwards. Statements commit on their own unless the block opens `atomic()`.
    """
    application = connections["default"]
    owner = cast(DatabaseWrapper, connections.create_connection("default"))
    owner.settings_dict = {**application.settings_dict, **settings.DATABASE_OWNER}
    owner.session_wide = True
    connections["default"] = owner
    try:
        yield owner
    finally:
        owner.close()
        connections["default"] = application
