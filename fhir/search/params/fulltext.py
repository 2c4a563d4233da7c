"""`_text` and `_content`: words of the narrative, or of all of a resource.

https://hl7.org/fhir/R4/search.html#text. The values are those of a search engine: `liver or bone`,
`-cyst`, `"left lung"`. Nothing is indexed for them: PostgreSQL reads the texts of the resources
that the other criteria leave, so that writes don't pay for searches that few make.
"""

from typing import Final

from fhir.search.clause import Clause, any_of
from fhir.search.context import SearchContext
from fhir.search.request import ParameterCriterion
from fhir.search.values import unescape

# PostgreSQL's limit of a text's words is a megabyte; four bytes a character are below it.
MAX_CHARACTERS: Final = 200_000
_SOURCES: Final = {
    "_text": "regexp_replace({alias}.content::json #>> '{{text,div}}', '<[^>]*>', ' ', 'g')",
    "_content": (
        "regexp_replace({alias}.content::jsonb::text,"
        " '\"[A-Za-z_]+\": |<[^>]*>|\\\\[nrt\"]', ' ', 'g')"
    ),
}


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition that a text has the words asked for."""
    source = _SOURCES[criterion.parameter.code].format(alias=alias)
    test = (
        f"to_tsvector('simple', left({source}, {MAX_CHARACTERS}))"
        " @@ websearch_to_tsquery('simple', %s::text)"
    )
    return any_of([Clause(test, (unescape(value),)) for value in criterion.values])
