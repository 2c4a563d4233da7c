"""What package code is given: tokens fetched once, reads that were declared, hosts allowed."""

import threading
import time
from typing import Any

import pytest

from assets.runtime import tokens as module
from assets.runtime.fhir import FhirHandle
from assets.runtime.http import HttpHandle
from assets.runtime.packages import run_package
from assets.runtime.tokens import Tokens
from assets.sdk import AssetError
from healthcloud.tenancy.scope import Scope

SCOPE = Scope("org_1", "env_1", "sandbox", "t_1", "proj_1", 1)


@pytest.fixture
def plain_cache(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A shared cache in memory, and sealing that needs no tenant."""
    kept: dict[str, Any] = {}

    class Cache:
        def get(self, name: str) -> Any:
            return kept.get(name)

        def set(self, name: str, value: Any, timeout: float) -> None:
            kept[name] = value

        def add(self, name: str, value: Any, timeout: float) -> bool:
            return kept.setdefault(name, value) is value and len(kept) >= 0

        def delete(self, name: str) -> None:
            kept.pop(name, None)

    monkeypatch.setattr(module, "cache", Cache())
    monkeypatch.setattr(module, "seal", lambda scope, text: text[::-1].encode())
    monkeypatch.setattr(module, "open_sealed", lambda scope, blob: blob.decode()[::-1])
    return kept


def test_many_threads_fetch_one_token(plain_cache: dict[str, Any]) -> None:
    fetched: list[int] = []

    def fetch() -> tuple[str, float]:
        fetched.append(1)
        time.sleep(0.05)
        return "token", 300.0

    found: list[str] = []
    handle = Tokens(SCOPE, "asset")
    threads = [
        threading.Thread(target=lambda: found.append(handle.get_or_fetch("k", fetch)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, len(fetched)) == (["token"] * 8, 1)


def test_another_process_takes_the_shared_token(plain_cache: dict[str, Any]) -> None:
    Tokens(SCOPE, "asset").get_or_fetch("k", lambda: ("token", 300.0))
    module._local.clear()
    found = Tokens(SCOPE, "asset").get_or_fetch("k", lambda: ("other", 300.0))
    assert found == "token"
    assert "token" not in str(plain_cache.values())


def test_projects_and_assets_share_no_token(plain_cache: dict[str, Any]) -> None:
    one = Tokens(SCOPE, "asset").get_or_fetch("k", lambda: ("one", 300.0))
    two = Tokens(SCOPE.in_project("proj_2", 2), "asset").get_or_fetch("k", lambda: ("two", 300.0))
    three = Tokens(SCOPE, "asset_2").get_or_fetch("k", lambda: ("three", 300.0))
    assert (one, two, three) == ("one", "two", "three")


def test_a_forgotten_token_is_fetched_anew(plain_cache: dict[str, Any]) -> None:
    handle = Tokens(SCOPE, "asset")
    handle.get_or_fetch("k", lambda: ("old", 300.0))
    handle.forget("k")
    assert handle.get_or_fetch("k", lambda: ("new", 300.0)) == "new"


def test_a_failed_fetch_leaves_no_lock(plain_cache: dict[str, Any]) -> None:
    def fail() -> tuple[str, float]:
        raise AssetError("vendor_unauthorized", "no")

    handle = Tokens(SCOPE, "asset")
    with pytest.raises(AssetError):
        handle.get_or_fetch("k", fail)
    assert handle.get_or_fetch("k", lambda: ("new", 300.0)) == "new"


def test_a_cache_that_is_down_costs_a_fetch_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down:
        def __getattr__(self, name: str) -> Any:
            raise ConnectionError("down")

    monkeypatch.setattr(module, "cache", Down())
    monkeypatch.setattr(module, "seal", lambda scope, text: text.encode())
    assert Tokens(SCOPE, "asset").get_or_fetch("k", lambda: ("token", 300.0)) == "token"


def test_an_asset_reads_only_what_it_declared(now: Any) -> None:
    handle = FhirHandle(SCOPE, now, frozenset({"Patient"}))
    for call in (
        lambda: handle.read("Condition", "1"),
        lambda: handle.search("Condition", {}),
        lambda: handle.first("Condition", {}),
    ):
        with pytest.raises(AssetError, match="does not declare"):
            call()


@pytest.mark.parametrize(
    ("network", "environment", "url", "code"),
    [
        (("https://vendor.example",), "sandbox", "https://other.example/", "host_not_allowed"),
        (("http://127.0.0.1:8010",), "production", "http://127.0.0.1:8010/", "host_not_allowed"),
        (("http://127.0.0.1:6379",), "sandbox", "http://127.0.0.1:6379/", "host_not_allowed"),
        (("http://169.254.169.254",), "sandbox", "http://169.254.169.254/", "host_not_allowed"),
        (("127.0.0.1:8010",), "sandbox", "http://127.0.0.1:8010@evil.example/", "host_not_allowed"),
        (("http://127.0.0.1:9",), "sandbox", "http://127.0.0.1:9/", "vendor_unreachable"),
    ],
)
def test_calls_go_where_the_manifest_allows(
    settings: Any, network: tuple[str, ...], environment: str, url: str, code: str
) -> None:
    settings.SIMULATOR_URL = "http://127.0.0.1:9" if ":9" in url else "http://127.0.0.1:8010"
    with pytest.raises(AssetError) as raised:
        HttpHandle(network, environment).request("GET", url, timeout=2)
    assert raised.value.code == code


def test_a_fault_of_package_code_is_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from assets import registry
    from assets.sdk import Agent

    class Broken(Agent):
        def run(self, context: Any, input: Any) -> Any:
            raise KeyError("secret clinical text")

    manifest = registry.get("agent_diagnostic_v1")
    package = SimpleNamespace(manifest=manifest, instantiate=Broken)
    context: Any = SimpleNamespace(package=package, asset_id=manifest.id, config={})
    with pytest.raises(AssetError) as raised:
        run_package(context, None, {"patient_id": "p1"})
    assert raised.value.code == "asset_broken"
    assert "clinical" not in raised.value.message
