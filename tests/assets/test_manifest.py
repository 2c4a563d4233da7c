"""Manifests: what is refused and why, ids, defaults; every package of the catalog loads."""

import pytest

from assets import manifest, registry
from assets.manifest import ManifestError
from assets.sdk import Asset

MINIMAL = """
kind: dataset
slug: sample
version: 2.1.0
name: Sample
summary: A sample.
entry_point: "dataset:Sample"
"""


def test_the_id_is_kind_slug_and_major_version() -> None:
    assert manifest.parse(MINIMAL, source="t").id == "dataset_sample_v2"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("version: 2.1", "version: "),
        ("slug: Sample", "slug: "),
        ("kind: gadget", "kind: "),
        ("colour: red", "colour: Extra inputs are not permitted"),
        ("config: {schema: {type: array}}", "config.schema: "),
        ("config: {schema: {type: 7}}", "config.schema: "),
        ("requires: [{slot: a}]", "requires.0: "),
        ("kind: connector", "manifest: "),
        ("kind: agent", "manifest: "),
    ],
)
def test_every_problem_is_named(change: str, problem: str) -> None:
    name = change.partition(":")[0]
    kept = [line for line in MINIMAL.splitlines() if not line.startswith(f"{name}:")]
    with pytest.raises(ManifestError) as raised:
        manifest.parse("\n".join([*kept, change]), source="t")
    assert any(item.startswith(problem) for item in raised.value.problems)


@pytest.mark.parametrize("text", ["[]", "a: [", ""])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        manifest.parse(text, source="t")


def test_defaults_follow_the_environment() -> None:
    quest = registry.get("quest")
    variables = {"simulator_url": "http://sim", "project_id": "proj_1"}
    sandbox = quest.config_defaults("sandbox", variables)
    production = quest.config_defaults("production", variables)
    assert (sandbox["base_url"], sandbox["client_id"]) == ("http://sim/quest", "sandbox-proj_1")
    assert production["base_url"] == "https://hubservices.quanum.com"
    assert "client_id" not in production
    assert quest.network(sandbox) == ["http://sim/quest"]


@pytest.mark.parametrize("asset", registry.all_assets(), ids=lambda item: item.id)
def test_every_package_of_the_catalog_loads(asset: manifest.Manifest) -> None:
    package = registry.package(asset.id)
    assert isinstance(package.instantiate(), Asset)
    for path in asset.provides.workflows:
        assert package.read(path)
    assert (package.directory / "README.md").exists()


def test_a_package_reads_only_its_own_files() -> None:
    with pytest.raises(ManifestError):
        registry.package("quest").read("../../../sdk.py")


def test_unknown_names_are_not_found() -> None:
    assert registry.find("nothing") is None
    with pytest.raises(registry.AssetNotFound):
        registry.get("nothing")
