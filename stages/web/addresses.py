"""Which addresses may be asked: public ones, over https; nothing of the local network, however it is written."""

from __future__ import annotations

import ipaddress
import os
import socket
import urllib.request

import httpx

from model.errors import NetworkError

LOCAL = "CARTOON_ALLOW_LOCAL"  # host:port pairs of the local network that may be asked, over http too; for mirrors

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # how networks without IPv4 reach it
_TUNNELS = tuple(ipaddress.IPv6Network(text) for text in ("2001::/32", "2002::/16"))  # Teredo, 6to4: lead to any IPv4
_INSIDE = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa")  # of name servers inside


class AddressError(NetworkError):
    """An address that may not be asked."""


class UnresolvedError(NetworkError):
    """A name that no name server knows, or none can be asked."""


def parse_url(text: str) -> httpx.URL:
    """Return an address in its parts.

    Raises: AddressError if it is none.
    """
    try:
        url = httpx.URL(text)
        url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressError(f"{text[:200]!r}: not an address ({error})") from error
    return url


def join_url(base: httpx.URL, text: str) -> httpx.URL:
    """Return what a link or a redirect found at ``base`` leads to; AddressError if it is no address."""
    try:
        return parse_url(str(base.join(text)))
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressError(f"{base.host}: leads to {text[:200]!r}, which is not an address") from error


def place_of(url: httpx.URL) -> str:
    """Return ``host:port``, as CARTOON_ALLOW_LOCAL has it."""
    return f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"


def is_local(place: str) -> bool:
    """Whether CARTOON_ALLOW_LOCAL names this ``host:port``."""
    return place in os.environ.get(LOCAL, "").split(",")


def check_url(url: httpx.URL) -> None:
    """Refuse what can be refused before a name is resolved.

    Raises: AddressError for a scheme other than https (http to a host that CARTOON_ALLOW_LOCAL names), a user name or
        a password.
    """
    if not url.host:
        raise AddressError(f"{str(url)[:200]!r}: expected https://host/...")
    if url.scheme != "https" and not (url.scheme == "http" and is_local(place_of(url))):
        raise AddressError(f"{url.scheme}://{url.host}: expected https")
    if url.userinfo:
        raise AddressError(f"{url.host}: an address with a password is never asked")


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment names for this address."""
    known = urllib.request.getproxies()
    proxy = known.get(url.scheme) or known.get("all")
    return proxy if proxy and not urllib.request.proxy_bypass(url.host) else None


def check_behind_proxy(url: httpx.URL) -> None:
    """Refuse names and numbers of the proxy's own network, as far as they can be told without resolving."""
    host = url.host.rstrip(".").lower()
    if is_local(place_of(url)):
        return
    if "." not in host and ":" not in host and not host.isdigit():
        raise AddressError(f"{url.host}: expected a full name like www.example.org")
    if any(host == name or host.endswith(f".{name}") for name in _INSIDE):
        raise AddressError(f"{url.host}: is a name of a local network, which is not on the public network")
    try:
        numbers = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return  # a name: the proxy resolves it, and has rules of its own
    for entry in numbers:
        _refuse_inside(url.host, str(entry[4][0]))


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, once, all of them being public ones (or the host being allowed).

    Raises: AddressError naming an address that is not public; UnresolvedError if the name cannot be resolved.
    """
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnresolvedError(f"{host}: cannot be resolved ({reason}); is there a network?") from error
    if not found:
        raise UnresolvedError(f"{host}: has no address")
    if not is_local(f"{host}:{port}"):
        for address in found:
            _refuse_inside(host, address)
    return list(dict.fromkeys(found))


def is_public(address: str) -> bool:
    """Whether a numeric address is one of the public network.

    Addresses that stand for others (IPv4 in IPv6) are public only by NAT64, and only if what they stand for is.
    """
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        if "%" in address:
            return False
        if number in _NAT64:
            number = ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)
        elif number not in _GLOBAL_UNICAST or any(number in tunnel for tunnel in _TUNNELS):
            return False
    return number.is_global and not (number.is_multicast or number.is_reserved or number.is_unspecified)


def _refuse_inside(host: str, address: str) -> None:
    if not is_public(address):
        raise AddressError(f"{host}: leads to {address}, which is not on the public network")
