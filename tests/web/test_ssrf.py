"""No address, redirect or name server leads the client into the local network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpcore
import pytest

from model.errors import NetworkError
from stages.web.addresses import AddressError, is_public
from stages.web.client import Limits, stream
from tests.web.faultserver import FaultServer, serving

LIMITS = Limits(connect_s=2, read_s=2, deadline_s=5, redirects=5)
PUBLIC = "93.184.215.14"

LITERALS = [
    "127.0.0.1", "127.0.0.1.", "127.1", "127.255.255.254", "0", "0.0.0.0", "0x7f000001", "0x7f.1", "2130706433",
    "017700000001", "0177.0.0.1", "10.1.2.3", "10.0.0.0", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "192.168.255.255", "169.254.169.254", "2852039166", "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.2.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:8.8.8.8]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]",
    "[64:ff9b:1::a00:1]", "[2002:7f00:1::1]", "[2002:a00:1::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
    "[2001:db8::1]", "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[ff05::2]", "[100::1]",
    "[fec0::1]", "localhost", "LOCALHOST", "localhost.",
]  # fmt: skip
SHAPES = [
    "http://example.org/", "http://127.0.0.1/", "ftp://example.org/", "file:///etc/passwd", "file://localhost/etc/hosts",
    "gopher://127.0.0.1:70/_x", "javascript:alert(1)", "data:text/html,x", "https://me@example.org/",
    "https://me:secret@example.org/", "https://example.org@127.0.0.1/", "https:///x", "https://",
    "https://exa mple.org/",
    "https://[::1/", "https://example.org:99999/", "https://\u2460\u2461\u2466.0.0.1/",
    "https://127\u30020\u30020\u30021/", "unix:/var/run/docker.sock", "https://%31%32%37.0.0.1/",
]  # fmt: skip


@pytest.fixture(autouse=True)
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every numeric address that a connection was begun to; those to public ones fail."""
    called: list[str] = []
    real = httpcore.SyncBackend.connect_tcp

    def connect_tcp(self: httpcore.SyncBackend, host: str, *rest: Any, **named: Any) -> httpcore.NetworkStream:
        called.append(host)
        if is_public(host):
            raise httpcore.ConnectError("no public network in tests")
        return real(self, host, *rest, **named)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect_tcp)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("CARTOON_OFFLINE", raising=False)
    monkeypatch.delenv("CARTOON_ALLOW_LOCAL", raising=False)
    return called


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    with serving() as made:
        monkeypatch.setenv("CARTOON_ALLOW_LOCAL", made.place)
        yield made


@pytest.fixture
def secret() -> Iterator[FaultServer]:
    """Something of the local network that must never be asked."""
    with serving() as made:
        yield made
        assert made.asked == []


def ask(url: str) -> int:
    with stream(url, {}, LIMITS) as response:
        return response.status_code


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: list[str]) -> list[str]:
    """Make a name server that gives one list after the other; returns the names it was asked for."""
    real, asked = socket.getaddrinfo, []

    def getaddrinfo(host: str, port: Any = None, *rest: Any, **named: Any) -> Any:
        if not str(host).endswith(".test"):
            return real(host, port, *rest, **named)
        asked.append(str(host))
        found = addresses[min(len(asked), len(addresses)) - 1]
        kind = {False: socket.AF_INET, True: socket.AF_INET6}
        return [(kind[":" in address], socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("host", LITERALS)
@pytest.mark.parametrize("way", ["directly", "by redirect"])
def test_no_way_of_writing_a_private_address_is_connected_to(
    server: FaultServer, secret: FaultServer, dialled: list[str], host: str, way: str
) -> None:
    url = f"https://{host}:{secret.server_port}/f/ok"
    with pytest.raises(NetworkError, match=r"not on the public network|not an address|cannot be resolved|expected"):
        ask(url if way == "directly" else server.url(f"/f/redirect?to={url.replace('%', '%25')}"))
    assert dialled == ([] if way == "directly" else ["127.0.0.1"])  # of the redirect itself
    assert len(server.asked) == len(dialled)


@pytest.mark.parametrize("url", SHAPES)
@pytest.mark.parametrize("way", ["directly", "by redirect"])
def test_no_other_scheme_password_or_malformed_address_is_asked(
    server: FaultServer, dialled: list[str], url: str, way: str
) -> None:
    with pytest.raises(NetworkError):
        if way == "directly":
            ask(url)
        else:
            ask(server.url(f"/f/redirect?to={quote(url)}"))
    assert set(dialled) <= ({"127.0.0.1"} if way == "by redirect" else set())
    assert len(server.asked) == len(dialled)


@pytest.mark.parametrize("address", [h.strip("[]").replace("%25", "%") for h in LITERALS if ":" in h or "." in h[:4]])
def test_a_name_with_one_private_address_among_public_ones_is_refused_whole(
    monkeypatch: pytest.MonkeyPatch, dialled: list[str], address: str
) -> None:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address.partition("%")[0])
    except OSError:
        address = "127.0.0.1"  # a name server gives only well-formed numbers
    answers(monkeypatch, [PUBLIC, address])
    with pytest.raises(AddressError, match="not on the public network"):
        ask("https://mixed.test/")
    assert dialled == []


def test_a_name_server_that_changes_its_mind_is_asked_once_and_never_leads_inside(
    monkeypatch: pytest.MonkeyPatch, server: FaultServer, dialled: list[str]
) -> None:
    asked = answers(monkeypatch, [PUBLIC], ["127.0.0.1"])
    with pytest.raises(NetworkError, match="ConnectError"):
        ask(f"https://rebinding.test:{server.server_port}/f/ok")
    assert (asked, dialled) == (["rebinding.test"], [PUBLIC])
    with pytest.raises(AddressError, match=r"leads to 127\.0\.0\.1"):
        ask(f"https://rebinding.test:{server.server_port}/f/ok")
    assert dialled == [PUBLIC]
    assert server.asked == []


def test_every_public_address_of_a_host_is_tried(monkeypatch: pytest.MonkeyPatch, dialled: list[str]) -> None:
    answers(monkeypatch, [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
    with pytest.raises(NetworkError, match="no public network in tests"):
        ask("https://several.test/")
    assert dialled == [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"]


def test_an_allowed_place_is_one_host_and_one_port(server: FaultServer, dialled: list[str]) -> None:
    assert ask(server.url("/f/ok")) == 200
    with serving() as other:
        inward = server.url(f"/f/redirect?to={other.base}/")
        for url in (other.url("/f/ok"), f"https://127.0.0.1:{other.server_port}/", inward):
            with pytest.raises(AddressError):
                ask(url)
        assert other.asked == []


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://2130706433/", "https://[::1]/", "https://localhost/", "https://intranet/",
            "https://db.internal/", "https://printer.local/", "https://[::ffff:10.0.0.1]/"],
)  # fmt: skip
def test_behind_a_proxy_names_and_numbers_of_its_own_network_are_refused(
    monkeypatch: pytest.MonkeyPatch, server: FaultServer, url: str
) -> None:
    monkeypatch.setenv("https_proxy", server.base)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(AddressError):
        ask(url)
    assert server.asked == []


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
