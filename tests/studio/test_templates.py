"""The rules of the house for templates, styles and scripts."""

import hashlib
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import get_template

TEMPLATES = settings.BASE_DIR / "templates"
STATIC = settings.BASE_DIR / "static"
FILES = sorted(path.relative_to(TEMPLATES) for path in TEMPLATES.rglob("*.html"))
OURS = [path for path in FILES if path.parts[0] != "admin"]


@pytest.mark.parametrize("path", OURS, ids=str)
def test_a_template_is_short_and_says_what_it_needs(path: Path) -> None:
    text = (TEMPLATES / path).read_text()
    assert len(text.splitlines()) <= 120
    assert text.startswith("{# ")
    assert "{# Context: " in text
    get_template(str(path))


@pytest.mark.parametrize("path", OURS, ids=str)
def test_a_template_holds_no_inline_style_or_handler(path: Path) -> None:
    text = (TEMPLATES / path).read_text()
    assert not re.search(r"\sstyle=", text)
    assert not re.search(r"\son[a-z]+=", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"#[0-9a-fA-F]{6}\b", text)


def test_colors_stand_in_the_tokens_only() -> None:
    for path in (STATIC / "studio" / "css").glob("*.css"):
        if path.name != "tokens.css":
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![-\w])", path.read_text()), path.name


def test_vendored_files_are_what_the_list_says() -> None:
    rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})`", _vendored(), re.MULTILINE)
    listed = dict(rows)
    files = [p for p in (STATIC / "vendor").rglob("*") if p.suffix in {".woff2", ".svg"}]
    assert {str(path.relative_to(STATIC / "vendor")) for path in files} <= set(listed)
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert listed[str(path.relative_to(STATIC / "vendor"))] == digest


def _vendored() -> str:
    return (STATIC / "vendor" / "VENDORED.md").read_text()


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    sprite = (STATIC / "vendor" / "lucide" / "sprite.svg").read_text()
    known = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    text = "\n".join((TEMPLATES / path).read_text() for path in FILES)
    named = set(re.findall(r'{% icon "([^"]+)"', text))
    named |= set(re.findall(r'(?:icon_name|action_icon)="([^"]+)"', text))
    assert named <= known
