"""Consents that hold back records of their patient, where a project has them enforced.

The policy binds the tenant's narrowed role, and only while the setting `hc.consent` says who asks
(`fhir.consents` makes it). It reads the active Consents themselves, so that one that was just
stored or withdrawn holds at once. https://hl7.org/fhir/R4/consent.html
"""

from typing import Final

from django.db import migrations

_ROLE: Final = "healthcloud_narrowed"

# The first or last moment that a partial date of FHIR means.
_MOMENT: Final = """
CREATE FUNCTION fhir_moment(value text, ends boolean) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN value IS NULL THEN NULL
        WHEN length(value) > 10 THEN value::timestamptz
        ELSE ((value || substr('0000-01-01', length(value) + 1))::timestamp
            + CASE WHEN ends THEN
                CASE length(value) WHEN 4 THEN interval '1 year' WHEN 7 THEN interval '1 month'
                ELSE interval '1 day' END ELSE interval '0' END) AT TIME ZONE 'UTC'
    END
$$
"""

_IN_PERIOD: Final = """
CREATE FUNCTION fhir_in_period(period jsonb, low timestamptz, high timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (period->>'start' IS NULL OR high >= fhir_moment(period->>'start', false))
       AND (period->>'end' IS NULL OR low < fhir_moment(period->>'end', true))
$$
"""

_SHARES_CODE: Final = """
CREATE FUNCTION fhir_shares_code(wanted jsonb, found jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT EXISTS (
        SELECT FROM jsonb_array_elements(wanted) AS w, jsonb_array_elements(coalesce(found, '[]')) f
        WHERE w->>'code' = f->>'code'
            AND (w->>'system' IS NULL OR w->>'system' = f->>'system'))
$$
"""

# A rule holds where everything that it names does; what it leaves out is no condition.
_APPLIES: Final = """
CREATE FUNCTION fhir_provision_applies(rule jsonb, record jsonb, low timestamptz, high timestamptz,
    asker jsonb) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (rule->'period' IS NULL OR fhir_in_period(rule->'period',
            (asker->>'now')::timestamptz, (asker->>'now')::timestamptz))
    AND (rule->'actor' IS NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(rule->'actor') AS a
        WHERE asker->'actors' ? (a->'reference'->>'reference')
            OR asker->'actors' ? (a->'reference'->'identifier'->>'value')))
    AND (rule->'action' IS NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(rule->'action') AS a,
            jsonb_array_elements(coalesce(a->'coding', '[]')) AS c
        WHERE asker->'actions' ? (c->>'code')))
    AND (rule->'purpose' IS NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(rule->'purpose') AS p
        WHERE asker->'purposes' ? (p->>'code')))
    AND (rule->'class' IS NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(rule->'class') AS c
        WHERE c->>'code' = record->>'resourceType'
            OR coalesce(record->'meta'->'profile', '[]') ? (c->>'code')))
    AND (rule->'securityLabel' IS NULL
        OR fhir_shares_code(rule->'securityLabel', record->'meta'->'security'))
    AND (rule->'code' IS NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(rule->'code') AS c
        WHERE fhir_shares_code(coalesce(c->'coding', '[]'), record->'code'->'coding')))
    AND (rule->'dataPeriod' IS NULL
        OR (low IS NOT NULL AND fhir_in_period(rule->'dataPeriod', low, high)))
    AND (rule->'data' IS NULL OR EXISTS (
        SELECT FROM jsonb_array_elements(rule->'data') AS d
        WHERE d->'reference'->>'reference' = (record->>'resourceType') || '/' || (record->>'id')))
$$
"""

# What the innermost rules that apply say: where they differ, to deny counts.
_VERDICT: Final = """
CREATE FUNCTION fhir_provision_verdict(rule jsonb, base text, record jsonb, low timestamptz,
    high timestamptz, asker jsonb) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    inner_rule jsonb;
    said text;
    verdict text;
BEGIN
    IF NOT fhir_provision_applies(rule, record, low, high, asker) THEN
        RETURN NULL;
    END IF;
    FOR inner_rule IN SELECT value FROM jsonb_array_elements(coalesce(rule->'provision', '[]')) LOOP
        said := fhir_provision_verdict(inner_rule, 'permit', record, low, high, asker);
        IF said = 'deny' THEN
            RETURN said;
        END IF;
        verdict := coalesce(said, verdict);
    END LOOP;
    RETURN coalesce(verdict, rule->>'type', base);
END
$$
"""

# Runs as the owner of the tables, so that Consents that the caller may not read count, too.
_DENIES: Final = """
CREATE FUNCTION fhir_consent_denies(of_project integer, owner bigint, has bigint[],
    body text, date_low bigint, date_high bigint, asker jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    consent jsonb;
    judged jsonb := body::jsonb;
    low timestamptz;
    high timestamptz;
    base text;
    of_type smallint := (asker->>'type')::smallint;
BEGIN
    IF date_low > -9223372036854775808 THEN
        low := to_timestamp(date_low / 1000000.0);
        high := to_timestamp(date_high / 1000000.0) - interval '1 microsecond';
    END IF;
    FOR consent IN
        SELECT c.content::jsonb FROM fhir_resource c
        WHERE c.project = of_project AND c.rtype = of_type AND c.content IS NOT NULL
            AND (c.patient = owner OR (owner IS NULL AND c.patient IS NOT NULL AND EXISTS (
                SELECT FROM jsonb_array_elements_text(asker->'salts') AS s
                WHERE (c.patient # s::bigint) = ANY(has))))
    LOOP
        CONTINUE WHEN consent->>'status' <> 'active';
        base := CASE WHEN consent->'policyRule'->'coding' @> '[{"code": "OPTOUT"}]'
                OR consent->'policyRule'->'coding' @> '[{"code": "OPTOUTE"}]'
            THEN 'deny' ELSE 'permit' END;
        IF fhir_provision_verdict(coalesce(consent->'provision', '{}'), base, judged, low, high,
                asker) = 'deny' THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$
"""


def _setting(name: str) -> str:
    return f"coalesce(current_setting('hc.{name}', true), '')"


_ASKER: Final = f"(SELECT nullif({_setting('consent')}, '')::jsonb)"
_PERSONAL: Final = (
    f"rtype = ANY(((SELECT coalesce(nullif({_setting('consent_types')}, ''), '{{}}'))::smallint[]))"
)
# A row of this very instant was written by the request that asks: writing is no reading.
_POLICY: Final = (
    f"CASE WHEN {_ASKER} IS NULL OR content IS NULL OR NOT {_PERSONAL}"
    f" OR updated = (SELECT nullif({_setting('consent_at')}, '')::timestamptz) THEN true"
    " ELSE NOT fhir_consent_denies(project, patient, tokens, content, date_low, date_high,"
    f" {_ASKER}) END"
)
_HISTORY: Final = (
    f"CASE WHEN {_ASKER} IS NULL OR NOT {_PERSONAL} THEN true ELSE EXISTS ("
    "SELECT FROM fhir_resource r WHERE r.project = fhir_history.project"
    " AND r.rtype = fhir_history.rtype AND r.rid = fhir_history.rid AND r.content IS NOT NULL) END"
)


class Migration(migrations.Migration):
    """The functions that read Consents, and the policies that ask them."""

    dependencies = [("fhir", "0009_sight")]
    operations = [
        migrations.RunSQL(
            [
                *(_MOMENT, _IN_PERIOD, _SHARES_CODE, _APPLIES, _VERDICT, _DENIES),
                "CREATE POLICY consent_select ON fhir_resource AS RESTRICTIVE FOR SELECT"
                f" TO {_ROLE} USING ({_POLICY})",
                "CREATE POLICY consent_select ON fhir_history AS RESTRICTIVE FOR SELECT"
                f" TO {_ROLE} USING ({_HISTORY})",
            ],
            [
                "DROP POLICY consent_select ON fhir_history",
                "DROP POLICY consent_select ON fhir_resource",
                *(
                    f"DROP FUNCTION fhir_{name}"
                    for name in (
                        *("consent_denies", "provision_verdict", "provision_applies"),
                        *("shares_code", "in_period", "moment"),
                    )
                ),
            ],
        ),
    ]
