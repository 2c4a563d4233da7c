"""Migration operations for tenant tables: row-level security by project, append-only tables.

Row-level security puts its condition before every condition whose operator is not marked
leakproof. Equality and comparison of integers, text and timestamps are leakproof and keep using
their indexes; array operators (`&&`, `@>`) are not by default, so `prepare_database` marks
those of arrays leakproof where the owner is a superuser (see `healthcloud.tenancy.roles`).
"""

from django.db.migrations.operations import RunSQL

APPEND_ONLY_COMMENT = "append-only"


class ProjectIsolation(RunSQL):
    """Let a table show and take only rows of the transaction's project.

    `column` holds the project's id, or its number with `number=True`. A scope over all projects
    (`*`, number 0) sees every row; a transaction that names none sees no row.
    """

    def __init__(self, table: str, *, column: str = "project_id", number: bool = False) -> None:
        self.table, self.column, self.number = table, column, number
        if number:
            setting = "(SELECT nullif(current_setting('hc.project_number', true), '')::integer)"
            condition = f'"{column}" = {setting} OR {setting} = 0'
        else:
            setting = "(SELECT current_setting('hc.project', true))"
            condition = f"\"{column}\" = {setting} OR {setting} = '*'"
        super().__init__(
            sql=[
                f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
                f'CREATE POLICY project_isolation ON "{table}"'
                f" USING ({condition}) WITH CHECK ({condition})",
            ],
            reverse_sql=[
                f'DROP POLICY project_isolation ON "{table}"',
                f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY',
            ],
        )

    def deconstruct(self) -> tuple[str, list[object], dict[str, object]]:
        """Return the constructor's own arguments."""
        return (
            self.__class__.__name__,
            [self.table],
            {"column": self.column, "number": self.number},
        )

    def describe(self) -> str:
        """Return what `migrate` prints."""
        return f"Isolate projects in {self.table}"


class AppendOnly(RunSQL):
    """Mark a table whose rows tenants may insert and read, never update or delete.

    The mark is the table's comment; `healthcloud.tenancy.roles.grant_tenant` reads it.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        super().__init__(
            sql=f"COMMENT ON TABLE \"{table}\" IS '{APPEND_ONLY_COMMENT}'",
            reverse_sql=f'COMMENT ON TABLE "{table}" IS NULL',
        )

    def deconstruct(self) -> tuple[str, list[object], dict[str, object]]:
        """Return the constructor's own arguments."""
        return (self.__class__.__name__, [self.table], {})

    def describe(self) -> str:
        """Return what `migrate` prints."""
        return f"Make {self.table} append-only"
