"""`_text` and `_content`: words of the narrative, or of all of a resource.

https://hl7.org/fhir/R4/search.html#text. The values are those of a search engine: `liver or bone`,
`-cyst`, `"left lung"`. Nothing is indexed for them, so that writes don't pay for searches that few
make: PostgreSQL reads the texts of the resources that the other criteria leave. Taking a text
apart costs a hundred times what a look for the letters of its words does, so that comes first.
"""

import re
from typing import Final

from fhir.search.clause import Clause, all_of, any_of
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
_TERM: Final = re.compile(r'-?"[^"]*"?|[^\s"]+')
_LETTERS: Final = re.compile(r"[A-Za-z0-9]+", re.ASCII)
MAX_WORDS: Final = 20


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition that a text has the words asked for."""
    code = criterion.parameter.code
    source = _SOURCES[code].format(alias=alias)
    test = (
        f"to_tsvector('simple', left({source}, {MAX_CHARACTERS}))"
        " @@ websearch_to_tsquery('simple', %s::text)"
    )
    narrated = [Clause(f"strpos({alias}.content, '\"div\"') > 0")] if code == "_text" else []
    return any_of(
        [
            all_of([*narrated, *_letters(value, alias), Clause(test, (value,))])
            for value in map(unescape, criterion.values)
            if any(map(str.isalnum, value))  # else it has no word
        ]
    )


def _letters(value: str, alias: str) -> list[Clause]:
    """Return what every text that matches holds, also where its JSON spells letters as numbers."""
    terms = [term for term in _TERM.findall(value) if not term.startswith("-")]
    words = {word.lower() for term in terms for word in _LETTERS.findall(term)} - {"or"}
    if not words or "or" in value.lower().split():
        return []
    patterns = [f"%{word}%" for word in sorted(words)[:MAX_WORDS]]
    sql = f"({alias}.content ILIKE ALL (%b::text[]) OR strpos({alias}.content, '\\u') > 0)"
    return [Clause(sql, (patterns,))]
