"""No file and no function grows beyond what can be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APPS = ("healthcloud", "fhir", "assets", "workflows", "studio")
FILE_LINES = 500
FUNCTION_LINES = 50
TEMPLATE_LINES = 120
HANDLERS = {"get", "post", "put", "patch", "delete"}
HANDLER_LINES = 15


def sources() -> list[Path]:
    found = (path for app in APPS for path in (ROOT / app).rglob("*.py"))
    return sorted(path for path in found if "migrations" not in path.parts)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= FILE_LINES, f"{lines} lines: does one room hold two?"
    long = [
        f"{node.name} has {body_lines(node)} lines"
        for node in functions(path)
        if body_lines(node) > FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree), "begin the module with a docstring"


def test_api_views_make_one_call() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {body_lines(node)} lines"
        for path in sources()
        if path.parent.name == "api"
        for node in functions(path)
        if node.name in HANDLERS and body_lines(node) > HANDLER_LINES
    ]
    assert long == []


def test_templates_stay_readable() -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "templates").rglob("*.html")
        if path.read_text(encoding="utf-8").count("\n") > TEMPLATE_LINES
    ]
    assert long == []


def test_nothing_is_left_to_do_on_main() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X:")
    found = [
        f"{path.relative_to(ROOT)}: {mark}"
        for path in sources()
        for mark in marks
        if mark in path.read_text(encoding="utf-8")
    ]
    assert found == []
