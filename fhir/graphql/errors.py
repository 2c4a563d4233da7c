"""What can be wrong with a GraphQL query. https://hl7.org/fhir/R4/graphql.html"""

from typing import ClassVar

from healthcloud.errors import BadRequest


class InvalidQuery(BadRequest):
    """The query does not parse, or asks for what R4 or this server does not have."""

    issue_code: ClassVar[str] = "invalid"
