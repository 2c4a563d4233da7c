"""Ready-made workflows: a definition with questions, whose answers complete it.

A template is a JSON file of this folder: `{"id", "name", "summary", "questions", "definition"}`.
In the definition `[[name]]` stands for the answer to the question of that name; alone in a text
it keeps the answer's type.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from healthcloud.errors import NotFound, ValidationFailed
from workflows.inputs import violations

Json = dict[str, Any]
_PLACE: Final = re.compile(r"\[\[(\w+)\]\]")


class TemplateNotFound(NotFound):
    """There is no template of this id."""

    def __init__(self, template_id: str) -> None:
        known = ", ".join(template["id"] for template in all_templates())
        super().__init__(f"There is no template `{template_id[:63]}`. Templates: {known}.")


class InvalidAnswers(ValidationFailed):
    """An answer is not what its question asks for."""


@lru_cache(maxsize=1)
def all_templates() -> list[Json]:
    """Return all templates by name."""
    found = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in files(__name__).iterdir()
        if path.name.endswith(".json")
    ]
    return sorted(found, key=lambda template: str(template["name"]))


def find(template_id: str) -> Json:
    """Return a template; raise TemplateNotFound."""
    for template in all_templates():
        if template["id"] == template_id:
            return template
    raise TemplateNotFound(template_id)


def complete(template_id: str, answers: Mapping[str, Any], slug: str | None = None) -> Json:
    """Return a template's definition with the answers in it; raise InvalidAnswers."""
    template = find(template_id)
    questions = {question["name"]: question for question in template["questions"]}
    given = {name: question["default"] for name, question in questions.items()} | dict(answers)
    schema = {
        "type": "object",
        "properties": {name: question["schema"] for name, question in questions.items()},
        "additionalProperties": False,
    }
    if problems := violations(schema, given):
        first = problems[0]
        raise InvalidAnswers(
            f"{first['field'] or 'answers'}: {first['message']}", param="answers", details=problems
        )
    definition: Json = _filled(template["definition"], given)
    return definition | ({"slug": slug} if slug else {})


def _filled(value: Any, answers: Mapping[str, Any]) -> Any:  # noqa: ANN401  # JSON
    if isinstance(value, str):
        alone = _PLACE.fullmatch(value)
        if alone:
            return answers[alone.group(1)]
        return _PLACE.sub(lambda found: str(answers[found.group(1)]), value)
    if isinstance(value, dict):
        return {name: _filled(member, answers) for name, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, answers) for member in value]
    return value
