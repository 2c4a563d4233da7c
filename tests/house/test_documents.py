"""What the documents say exists, and what exists is documented."""

import re
import subprocess
from pathlib import Path

from django.core.management import get_commands

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_setting_from_the_environment_is_documented() -> None:
    names = set(re.findall(r'env(?:_flag|_int)?\(\s*"([A-Z_]+)"', read("healthcloud/settings.py")))
    documented = read("docs/operations.md")
    assert {name for name in names if name not in documented} == set()


def test_the_verbs_of_the_readme_are_verbs_of_make() -> None:
    verbs = set(re.findall(r"^([a-z]+):.*## ", read("Makefile"), flags=re.MULTILINE))
    named = set(
        re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", read("README.md"), flags=re.MULTILINE)
    )
    words = {first or second for first, second in named}
    assert {"run", "test"} <= words
    assert words - verbs == set()


def test_the_commands_of_the_documents_exist() -> None:
    commands = set(get_commands())
    for name in ("README.md", "docs/operations.md"):
        named = set(re.findall(r"manage\.py ([a-z_]+)", read(name)))
        assert named - commands == set(), name


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in read(".ci/run")
    assert "make test" in read("README.md")


def test_the_images_of_the_readme_exist() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", read("README.md")):
        assert (ROOT / path).is_file(), path


def test_no_path_of_a_developers_machine_is_committed() -> None:
    pattern = "/" + "work/|/" + "root/"
    found = subprocess.run(
        ["git", "grep", "-lIE", pattern, "--", ".", ":!static/vendor"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split() == []
