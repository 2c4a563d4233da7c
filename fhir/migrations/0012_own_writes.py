"""An app of one patient writes about that patient only.

R4's compartment holds what names the patient in whatever role, as performer of another's
Observation for instance: that may be read, and is no reason to write into the other's record.
"""

from typing import Final

from django.db import migrations

_ROLE: Final = "healthcloud_narrowed"
_GRANULAR: Final = """
CREATE OR REPLACE FUNCTION fhir_meets_a_group(groups text, type smallint, owner bigint,
    found bigint[]) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_to_recordset(groups::jsonb)
            AS g(type smallint, patient bigint, inside bigint[], criteria jsonb)
        WHERE g.type = $2
            AND (g.inside IS NULL OR owner = g.patient OR (owner IS NULL AND found && g.inside))
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


_PATIENT: Final = f"(SELECT nullif({_setting('write_patient')}, '')::bigint)"
_GROUPS: Final = f"(SELECT {_setting('write_groups')})"
_WITHIN: Final = (
    f"(rtype = ANY({_array('write_types', 'smallint')})"
    f" OR (patient = {_PATIENT} AND rtype = ANY({_array('write_inside', 'smallint')}))"
    f" OR (patient IS NULL AND tokens && {_array('write_tokens', 'bigint')})"
    f" OR CASE WHEN {_GROUPS} = '' THEN false"
    f" ELSE fhir_meets_a_group({_GROUPS}, rtype, patient, tokens) END)"
)
_WRITE: Final = f"{_WITHIN} OR (content IS NULL AND (SELECT {_setting('may_delete')} = 'on'))"


class Migration(migrations.Migration):
    """The policies of what narrowed callers write, anew."""

    dependencies = [("fhir", "0011_subscriber")]
    operations = [
        migrations.RunSQL(
            [
                _GRANULAR,
                f"ALTER POLICY sight_insert ON fhir_resource TO {_ROLE} WITH CHECK ({_WRITE})",
                f"ALTER POLICY sight_update ON fhir_resource TO {_ROLE} USING ({_WITHIN})"
                f" WITH CHECK ({_WRITE})",
                f"ALTER POLICY sight_delete ON fhir_resource TO {_ROLE} USING ({_WITHIN})",
            ],
            migrations.RunSQL.noop,
        ),
    ]
