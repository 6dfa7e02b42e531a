"""The client's ways: certificates, proxies, being offline."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from model.errors import NetworkError
from stages.web.client import Limits, Session, stream
from tests.web.faultserver import FaultServer, Reply, serving

LIMITS = Limits(connect_s=3, read_s=3, deadline_s=5)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every name below .test one of this machine."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: Any = None, *rest: Any, **named: Any) -> Any:
        if str(host).endswith(".test"):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port or 0))]
        return real(host, port, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("CARTOON_OFFLINE", "")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate, with its key, of mirror.test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirror.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mirror.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path / "mirror.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[FaultServer]:
    """Serve over TLS."""
    server = FaultServer(lambda asked: Reply(asked.headers["host"].encode()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def read(url: str) -> bytes:
    with stream(url, {}, LIMITS) as response:
        return response.read()


def test_the_certificate_is_checked_against_the_name_although_the_connection_goes_to_an_address(
    resolved: None, secure: FaultServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = secure.server_port
    monkeypatch.setenv("CARTOON_ALLOW_LOCAL", f"mirror.test:{port},other.test:{port}")
    with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED"):  # nobody has vouched for it
        read(f"https://mirror.test:{port}/x")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert read(f"https://mirror.test:{port}/x") == f"mirror.test:{port}".encode()
    with pytest.raises(NetworkError, match=r"CERTIFICATE_VERIFY_FAILED.*other\.test"):
        read(f"https://other.test:{port}/x")
    assert len(secure.asked) == 1


def test_a_proxy_of_the_environment_is_used_and_resolves_the_names(
    resolved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda asked: Reply(asked.path.encode())) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:secret@{proxy.place}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", "shop.example.org:8000")
        assert read("http://shop.example.org:8000/x?y=1") == b"http://shop.example.org:8000/x?y=1"
        (asked,) = proxy.asked
        assert asked.headers["proxy-authorization"].startswith("Basic ")
        assert asked.headers["host"] == "shop.example.org:8000"
        monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
        with pytest.raises(NetworkError, match=r"the proxy of the environment .*expected http://host:port"):
            read("http://shop.example.org:8000/x")


def test_connections_are_kept_for_the_same_host_and_every_hop_is_told_before(
    resolved: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    ports: set[str] = set()
    with serving(lambda _: Reply(b"x")) as server:
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", server.place)
        real = server.get_request

        def get_request() -> Any:
            connection, address = real()
            ports.add(str(address[1]))
            return connection, address

        monkeypatch.setattr(server, "get_request", get_request)
        with Session(LIMITS, before=lambda url: told.append(url.path)) as session:
            for path in ("/a", "/b", "/f/redirect?to=/c"):
                with session.stream(server.url(path), {}, {}) as response:
                    response.read()
    assert told == ["/a", "/b", "/f/redirect", "/c"]
    assert len(ports) <= 2  # a redirect's body is not read, which costs its connection


def test_offline_means_offline(resolved: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", server.place)
        monkeypatch.setenv("CARTOON_OFFLINE", "1")
        with pytest.raises(NetworkError, match="CARTOON_OFFLINE=1 forbids downloads"):
            read(server.url("/f/ok"))
        assert server.asked == []
