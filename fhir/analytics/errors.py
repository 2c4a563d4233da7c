"""What a view definition can't say."""

from healthcloud.errors import ValidationFailed


class InvalidView(ValidationFailed):
    """The ViewDefinition can't be run: `param` names the element."""

    issue_code = "invalid"
