"""The outbound door: where it leads, what it repeats, what it refuses, what it logs."""

import gzip
import io
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from healthcloud import http
from healthcloud.http import addresses
from healthcloud.http.client import OutboundClient, path_template
from healthcloud.http.connections import pool
from healthcloud.http.responses import parse_retry_after
from tests.healthcloud.receiver import Receiver, running_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


def quick(**fields: object) -> OutboundClient:
    return OutboundClient(
        **{"allow_loopback": True, "timeout": 2.0, "sleep": lambda seconds: None, **fields}
    )


INSIDE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "fe80::1",
    "fc00::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_a_network_are_never_reached(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port: [address])
    connected: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: connected.append(a))
    with pytest.raises(http.AddressRefused) as refused:
        http.client(timeout=2).get("https://vendor.example/")
    assert (refused.value.retryable, refused.value.status) == (False, 422)
    assert connected == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "localhost", "[::1]"])
def test_loopback_in_disguise_is_refused(host: str) -> None:
    with pytest.raises(http.AddressRefused):
        http.client(timeout=2).get(f"https://{host}/")


def test_one_bad_answer_of_the_resolver_spoils_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "resolve", lambda host, port: ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(http.AddressRefused):
        http.client(timeout=2).get("https://vendor.example/")


def test_loopback_is_allowed_to_simulators_but_nothing_else_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for address in ("10.0.0.1", "169.254.169.254", "8.8.8.8"):
        monkeypatch.setattr(addresses, "resolve", lambda host, port, found=address: [found])
        with pytest.raises(http.AddressRefused):
            quick().get("http://simulator.example/")


def test_it_resolves_once_and_connects_to_what_it_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    monkeypatch.setattr(addresses, "resolve", rebinding)
    port = receiver.url.rpartition(":")[2]
    answer = quick().get(f"http://rebind.example:{port}/x")
    assert answer.status == 200
    assert asked == ["rebind.example"]
    assert receiver.received[0].headers["host"] == f"rebind.example:{port}"


@pytest.mark.parametrize(
    "url",
    [
        "http://vendor.example/",
        "ftp://vendor.example/",
        "vendor.example",
        "https://user:pw@vendor.example/",
        "https://vendor.example:99999/",
        "https://",
        "file:///etc/passwd",
    ],
)
def test_urls_that_are_never_called(url: str) -> None:
    with pytest.raises(http.UrlRefused):
        http.client().get(url)
    with pytest.raises(http.UrlRefused):
        http.check_url(url, allow_loopback=False)


@pytest.mark.parametrize(
    ("allowed", "passes"),
    [
        (["127.0.0.1"], True),
        (["other.example"], False),
        ([], False),
        (["*.0.0.1"], True),
        (["127.0.0.1:1"], False),
    ],
)
def test_only_declared_hosts_are_called(
    receiver: Receiver, allowed: list[str], passes: bool
) -> None:
    client = quick(allow_hosts=allowed)
    if passes:
        assert client.get(receiver.url).status == 200
        return
    with pytest.raises(http.HostNotAllowed):
        client.get(receiver.url)
    assert receiver.received == []


def test_redirects_are_answers_not_orders(receiver: Receiver) -> None:
    receiver.answers = [(302, {"Location": "http://169.254.169.254/"}, b"")]
    answer = quick().get(receiver.url)
    assert (answer.status, answer.ok, len(receiver.received)) == (302, False, 1)


def test_json_goes_out_and_comes_back(receiver: Receiver) -> None:
    receiver.answers = [(201, {"Content-Type": "application/json"}, b'{"a": 1}')]
    answer = quick().request("POST", receiver.url + "/x", json={"b": 2}, params={"q": "é"})
    assert answer.raise_for_status().json() == {"a": 1}
    sent = receiver.received[0]
    assert (sent.body, sent.path) == (b'{"b":2}', "/x?q=%C3%A9")
    assert sent.headers["content-type"] == "application/json"
    assert "cookie" not in sent.headers


def test_cookies_are_not_kept(receiver: Receiver) -> None:
    receiver.answers = [(200, {"Set-Cookie": "a=1"}, b"")]
    quick().get(receiver.url)
    quick().get(receiver.url)
    assert "cookie" not in receiver.received[1].headers


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_safe_methods_are_repeated_and_retry_after_is_kept(receiver: Receiver, status: int) -> None:
    waits: list[float] = []
    receiver.answers = [(status, {"Retry-After": "3"}, b""), (200, {}, b"")]
    assert quick(sleep=waits.append).get(receiver.url).status == 200
    assert waits == [3.0]


def test_a_long_retry_after_is_the_callers_business(receiver: Receiver) -> None:
    receiver.answers = [(429, {"Retry-After": "120"}, b"")]
    answer = quick().get(receiver.url)
    assert (answer.status, answer.retry_after, len(receiver.received)) == (429, 120.0, 1)
    with pytest.raises(http.UnexpectedStatus) as failed:
        answer.raise_for_status()
    assert failed.value.retryable


@pytest.mark.parametrize(("idempotent", "times"), [(None, 1), (True, 3)])
def test_a_post_is_repeated_only_when_told_so(
    receiver: Receiver, idempotent: bool | None, times: int
) -> None:
    receiver.answers = [(503, {}, b"")]
    answer = quick().request("POST", receiver.url, content=b"x", idempotent=idempotent)
    assert (answer.status, len(receiver.received)) == (503, times)


def test_a_lost_answer_to_a_post_is_an_unknown_outcome(receiver: Receiver) -> None:
    receiver.hang_up = True
    with pytest.raises(http.ConnectionLost) as lost:
        quick().request("POST", receiver.url, content=b"x")
    assert (lost.value.retryable, lost.value.outcome_unknown) == (True, True)
    assert len(receiver.received) == 1


def test_a_refused_connection_sent_nothing_and_may_be_tried_again() -> None:
    waits: list[float] = []
    with pytest.raises(http.ConnectionFailed) as failed:
        quick(sleep=waits.append).request("POST", "http://127.0.0.1:9/", content=b"x")
    assert (failed.value.retryable, failed.value.outcome_unknown) == (True, False)
    assert len(waits) == 2


def test_a_silent_receiver_is_given_up_at_the_deadline(receiver: Receiver) -> None:
    receiver.delay = 1.0
    with pytest.raises(http.RequestTimedOut):
        quick(timeout=0.2, retries=0).get(receiver.url)


def test_a_dripping_receiver_does_not_outlive_the_deadline() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            try:
                for _ in range(100):
                    connection.sendall(b".")
                    time.sleep(0.05)
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    started = time.monotonic()
    with pytest.raises(http.RequestTimedOut):
        quick(timeout=0.4, retries=0).get(f"http://127.0.0.1:{listening.getsockname()[1]}/")
    assert time.monotonic() - started < 4.5
    thread.join()
    listening.close()


def test_too_much_is_refused_or_cut(receiver: Receiver) -> None:
    receiver.answers = [(200, {}, b"x" * 5000)]
    with pytest.raises(http.ResponseTooLarge):
        quick(max_response_bytes=1000).get(receiver.url)
    cut = quick(max_response_bytes=1000, truncate_response=True).get(receiver.url)
    assert cut.content == b"x" * 1000


def test_a_compressed_bomb_is_counted_as_it_unfolds(receiver: Receiver) -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)
    receiver.answers = [(200, {"Content-Encoding": "gzip"}, bomb)]
    with pytest.raises(http.ResponseTooLarge):
        quick(max_response_bytes=1_000_000).get(receiver.url)


def test_a_download_goes_into_a_file_within_the_same_limits(receiver: Receiver) -> None:
    receiver.answers = [(503, {}, b"later, later"), (200, {}, b"x" * 5000)]
    file = io.BytesIO()
    answer = quick().download(receiver.url, file)
    assert (answer.status, answer.content, file.getvalue()) == (200, b"", b"x" * 5000)
    with pytest.raises(http.ResponseTooLarge):
        quick(max_response_bytes=1000).download(receiver.url, io.BytesIO())


def test_rubbish_is_a_typed_error(receiver: Receiver) -> None:
    receiver.answers = [(200, {}, b"<html>")]
    with pytest.raises(http.MalformedResponse):
        quick().get(receiver.url).json()
    receiver.answers = [(200, {"Content-Encoding": "gzip"}, b"not gzip")]
    with pytest.raises(http.MalformedResponse):
        quick().get(receiver.url)


def test_the_log_names_no_identifier_query_body_or_key(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "healthcloud.http")
    quick().request(
        "POST",
        f"{receiver.url}/fhir/Patient/pat_123456/Observation?name=Ada",
        headers={"Authorization": "Bearer canary"},
        content=b"canary",
    )
    line = caplog.records[-1].getMessage()
    assert line.startswith("outbound POST 127.0.0.1/fhir/Patient/{id}/Observation 200 ")
    assert "canary" not in line
    assert "Ada" not in line


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/results/8f14e45f-ceea-467f-a0e6-9a3b7c1d2e3f", "/v1/results/{id}"),
        ("/Patient/42", "/Patient/{id}"),
        ("/oauth2/token", "/oauth2/token"),
        ("/", "/"),
    ],
)
def test_paths_are_logged_as_templates(path: str, template: str) -> None:
    assert path_template(path) == template


def test_a_url_is_checked_before_it_is_stored() -> None:
    with pytest.raises(http.AddressRefused) as refused:
        http.check_url("https://10.0.0.1/hook", allow_loopback=False)
    assert refused.value.param == "url"
    http.check_url("https://does-not-resolve.invalid/hook", allow_loopback=False)
    http.check_url("http://127.0.0.1:1234/hook", allow_loopback=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (None, None), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_both_forms_of_retry_after_are_read(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_the_certificate_is_checked_against_the_name_not_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, chain = certificates("vendor.example", tmp_path)
    context = ssl.create_default_context(cafile=str(authority))
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: context)
    monkeypatch.setattr(addresses, "resolve", lambda host, port: ["127.0.0.1"])
    close_pools()
    try:
        with running_receiver(chain) as receiver:
            port = receiver.url.rpartition(":")[2]
            assert quick().get(f"https://vendor.example:{port}/").status == 200
            with pytest.raises(http.ConnectionFailed):
                quick(retries=0).get(f"https://other.example:{port}/")
        assert len(receiver.received) == 1
    finally:
        close_pools()


def close_pools() -> None:
    for reach in ("public", "loopback", "public_or_loopback"):
        pool(reach).close()
    pool.cache_clear()


def certificates(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for a name; return it, and it with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    authority, chain = folder / "authority.pem", folder / "chain.pem"
    authority.write_bytes(text)
    chain.write_bytes(text + secret)
    return authority, chain
