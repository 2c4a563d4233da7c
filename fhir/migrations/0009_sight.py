"""Policies that narrow what certain callers see and write: to a patient, to what a scope names.

They bind the tenant's narrowed role only (`fhir.sight` makes the settings that they read), so that
they cost nothing to anybody else.
"""

from typing import Final

from django.db import migrations

_ROLE: Final = "healthcloud_narrowed"

# A group of a granular scope: a type, the compartment it is held to (the promoted patient or one of
# its tokens), and for each criterion the tokens of which a resource must have one.
_GRANULAR: Final = """
CREATE FUNCTION fhir_meets_a_group(groups text, type smallint, owner bigint, found bigint[])
RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_to_recordset(groups::jsonb)
            AS g(type smallint, patient bigint, inside bigint[], criteria jsonb)
        WHERE g.type = $2
            AND (g.inside IS NULL OR owner = g.patient OR found && g.inside)
            AND NOT EXISTS (
                SELECT FROM jsonb_array_elements(g.criteria) AS c(tokens)
                WHERE NOT found && ARRAY(SELECT t::bigint FROM jsonb_array_elements_text(c.tokens) t)
            )
    )
$$
"""


def _setting(name: str) -> str:
    return f"coalesce(current_setting('hc.{name}', true), '')"


def _array(name: str, kind: str) -> str:
    return f"((SELECT coalesce(nullif({_setting(name)}, ''), '{{}}'))::{kind}[])"


def _within(prefix: str) -> str:
    """Return the condition that a row lies within what the settings of a prefix let through."""
    patient = f"(SELECT nullif({_setting(f'{prefix}_patient')}, '')::bigint)"
    groups = f"(SELECT {_setting(f'{prefix}_groups')})"
    return (
        f"(rtype = ANY({_array(f'{prefix}_types', 'smallint')})"
        f" OR (patient = {patient} AND rtype = ANY({_array(f'{prefix}_inside', 'smallint')}))"
        f" OR tokens && {_array(f'{prefix}_tokens', 'bigint')}"
        f" OR CASE WHEN {groups} = '' THEN false"
        f" ELSE fhir_meets_a_group({groups}, rtype, patient, tokens) END)"
    )


_DELETES: Final = f"(SELECT {_setting('may_delete')} = 'on')"
_READ: Final = f"{_within('see')} OR (content IS NULL AND {_DELETES})"
_WRITE: Final = f"{_within('write')} OR (content IS NULL AND {_DELETES})"
_CURRENT: Final = (
    "EXISTS (SELECT FROM fhir_resource r WHERE r.project = fhir_history.project"
    " AND r.rtype = fhir_history.rtype AND r.rid = fhir_history.rid{more})"
)
# A version is judged by what is current: older ones of a patient's record are shown as long as
# they name the same patient. Of a granular scope only the current version is.
_VERSION: Final = (
    f"rtype = ANY({_array('see_types', 'smallint')})"
    f" OR {_CURRENT.format(more=' AND r.version = fhir_history.version')}"
    f" OR (rtype = ANY({_array('see_inside', 'smallint')})"
    f" AND strpos(content, (SELECT {_setting('see_named')})) > 0"
    f" AND {_CURRENT.format(more='')})"
)
POLICIES: Final = [
    f"CREATE POLICY sight_select ON fhir_resource AS RESTRICTIVE FOR SELECT TO {_ROLE}"
    f" USING ({_READ})",
    f"CREATE POLICY sight_insert ON fhir_resource AS RESTRICTIVE FOR INSERT TO {_ROLE}"
    f" WITH CHECK ({_WRITE})",
    f"CREATE POLICY sight_update ON fhir_resource AS RESTRICTIVE FOR UPDATE TO {_ROLE}"
    f" USING ({_within('write')}) WITH CHECK ({_WRITE})",
    f"CREATE POLICY sight_delete ON fhir_resource AS RESTRICTIVE FOR DELETE TO {_ROLE}"
    f" USING ({_within('write')})",
    f"CREATE POLICY sight_select ON fhir_history AS RESTRICTIVE FOR SELECT TO {_ROLE}"
    f" USING ({_VERSION})",
]


class Migration(migrations.Migration):
    """The policies of narrowed callers."""

    dependencies = [("fhir", "0008_search_parameters")]
    operations = [
        migrations.RunSQL(
            [_GRANULAR, *POLICIES],
            [
                "DROP POLICY sight_select ON fhir_history",
                *(
                    f"DROP POLICY sight_{verb} ON fhir_resource"
                    for verb in ("delete", "update", "insert", "select")
                ),
                "DROP FUNCTION fhir_meets_a_group",
            ],
        ),
    ]
