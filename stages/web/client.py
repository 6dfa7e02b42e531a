"""The one way this project talks to the web: every hop checked, every body streamed, nothing kept between hosts.

An address may come from a file that somebody else wrote, and a server may redirect anywhere. So the host is resolved
once, its addresses are checked, and the connection goes to the checked one: neither a redirect nor a second answer of
the name server leads into the local network.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from model.errors import NetworkError

OFFLINE = "CARTOON_OFFLINE"  # set to 1: nothing is downloaded, whatever asks for it
LOCAL = "CARTOON_ALLOW_LOCAL"  # host:port pairs of the local network that may be asked, over http too; for mirrors
AGENT = "cartoon-pipeline (+https://arxiv.org/abs/2106.12445)"
_HOPS = 10


@dataclass(frozen=True)
class Limits:
    """How long to wait for a server, seconds."""

    connect_s: float = 10.0
    read_s: float = 60.0


class AddressError(NetworkError):
    """An address that may not be asked."""


@contextmanager
def stream(url: str, headers: Mapping[str, str], limits: Limits) -> Iterator[httpx.Response]:
    """Ask for ``url`` and follow redirects, each checked; the body is not read yet.

    Args:
        url: https, or http to a host that CARTOON_ALLOW_LOCAL names.
        headers: sent to every hop. No cookies and no passwords are ever sent.
        limits: of waiting.

    Raises: AddressError for a hop that may not be asked; NetworkError without a connection or after ten hops.
    """
    if os.environ.get(OFFLINE) == "1":
        raise NetworkError(f"{OFFLINE}=1 forbids downloads")
    timeout = httpx.Timeout(limits.read_s, connect=limits.connect_s)
    here = httpx.URL(url)
    for _ in range(_HOPS):
        # A transport of its own takes no proxy from the environment, which goes by the name that the address replaces.
        route = None if _has_proxy(here) else httpx.HTTPTransport()
        with httpx.Client(timeout=timeout, transport=route, headers={"User-Agent": AGENT}) as client:
            request = _checked(client, here, {"Accept-Encoding": "identity", **headers})
            try:
                response = client.send(request, stream=True)
            except httpx.TransportError as error:
                raise NetworkError(f"{here.host}: {_reason(error)}") from error
            try:
                if not response.has_redirect_location:
                    yield response
                    return
                here = here.join(response.headers["location"])
            finally:
                response.close()
    raise NetworkError(f"{here.host}: more than {_HOPS} redirects")


def _checked(client: httpx.Client, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Request:
    """Build a request to a checked address of the host, under the host's own name."""
    local = f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}" in os.environ.get(LOCAL, "").split(",")
    if url.scheme != "https" and not (url.scheme == "http" and local):
        raise AddressError(f"{url.scheme}://{url.host}: expected https")
    if url.userinfo:
        raise AddressError(f"{url.host}: an address with a password is never asked")
    if _has_proxy(url):
        return client.build_request("GET", url, headers=dict(headers))  # the proxy resolves, and has rules of its own
    address = _resolve(url.host, local)
    there = url.copy_with(host=address)
    own = {**headers, "Host": url.netloc.decode("ascii")}
    return client.build_request("GET", there, headers=own, extensions={"sni_hostname": url.host})


def _has_proxy(url: httpx.URL) -> bool:
    """Whether the environment names a proxy for this address."""
    known = urllib.request.getproxies()
    return (url.scheme in known or "all" in known) and not urllib.request.proxy_bypass(url.host)


def _resolve(host: str, local: bool) -> str:
    """Return an address of the host, all of them being public ones (or ``local`` being allowed)."""
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError as error:
        raise NetworkError(f"{host}: cannot be resolved ({error.strerror or error}); is there a network?") from error
    inside = [address for address in found if not ipaddress.ip_address(address.partition("%")[0]).is_global]
    if inside and not local:
        raise AddressError(f"{host}: leads to {inside[0]}, which is not on the public network")
    return found[0]


def _reason(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
