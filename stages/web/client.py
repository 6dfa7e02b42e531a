"""The one way this project talks to the web: every hop checked, every body streamed, nothing kept between hosts.

An address may come from a file that somebody else wrote, and a server may redirect anywhere. So the host is resolved
once, its addresses are checked, and the connection goes to the checked one: neither a redirect nor a second answer of
the name server leads into the local network.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from types import TracebackType

import httpcore
import httpx

from model.errors import NetworkError
from stages.web.addresses import AddressError, check_behind_proxy, check_url, join_url, parse_url, proxy_for
from stages.web.wire import Backend, Limits, Watch

__all__ = ["AGENT", "OFFLINE", "AddressError", "BrokenOffError", "Limits", "Session", "stream"]

OFFLINE = "CARTOON_OFFLINE"  # set to 1: nothing is downloaded, whatever asks for it
AGENT = "cartoon-pipeline (+https://arxiv.org/abs/2106.12445)"
_REDIRECTS = (301, 302, 303, 307, 308)


class BrokenOffError(NetworkError):
    """The connection failed, broke off or was too slow; another try may do better."""


class Session:
    """Connections kept open for several requests, one after the other. No cookie is ever kept."""

    def __init__(self, limits: Limits, agent: str = AGENT, before: Callable[[httpx.URL], None] | None = None) -> None:
        """Set up.

        Args:
            limits: of waiting and of redirects.
            agent: the user agent.
            before: called with the address of every hop, redirects included, before it is asked; may wait or raise.
        """
        self.limits, self.agent = limits, agent
        self._before = before
        self._watch = Watch(limits)
        self._pools: dict[str | None, httpcore.ConnectionPool] = {}

    def __enter__(self) -> Session:
        """Use as a context: its end closes the connections."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        for pool in self._pools.values():
            with suppress(httpcore.NetworkError):
                pool.close()
        self._pools.clear()

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str], private: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Ask for ``url`` and follow redirects, each checked; the body is not read yet.

        Args:
            url: https, or http to a host that CARTOON_ALLOW_LOCAL names.
            headers: sent to every hop.
            private: headers that only the host of ``url`` gets (``Cookie``, ``Referer``), not where it redirects to.

        Raises: AddressError for a hop that may not be asked; BrokenOffError without a whole answer, also from the body;
            NetworkError after too many redirects.
        """
        if os.environ.get(OFFLINE) == "1":
            raise NetworkError(f"{OFFLINE}=1 forbids downloads")
        here = parse_url(url)
        home = _origin(here)
        for _ in range(self.limits.redirects + 1):
            check_url(here)
            if self._before is not None:
                self._before(here)
            own = {"User-Agent": self.agent, "Accept": "*/*", "Accept-Encoding": "identity", **headers, **private}
            response = self._send(here, own)
            try:
                location = response.headers.get("location", "")
                if response.status_code not in _REDIRECTS or not location:
                    yield response
                    return
            finally:
                response.close()
            here = join_url(here, location)
            if _origin(here) != home:
                private = {}
        raise NetworkError(f"{here.host}: more than {self.limits.redirects} redirects")

    def _send(self, url: httpx.URL, headers: Mapping[str, str]) -> httpx.Response:
        request = httpx.Request("GET", url, headers={"Host": url.netloc.decode("ascii"), **headers})
        there = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        waits = {
            "connect": self.limits.connect_s, "read": self.limits.read_s, "write": self.limits.read_s,
            "pool": self.limits.connect_s,
        }  # fmt: skip
        self._watch.begin()
        with _told(url.host):
            answer = self._pool(url).handle_request(
                httpcore.Request("GET", there, headers=request.headers.raw, extensions={"timeout": waits})
            )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer, url.host), request=request
        )  # fmt: skip

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        proxy = proxy_for(url)
        if proxy is not None:
            check_behind_proxy(url)
        if proxy not in self._pools:
            self._pools[proxy] = _direct(self._watch) if proxy is None else _through(proxy, self._watch)
        return self._pools[proxy]


@contextmanager
def stream(url: str, headers: Mapping[str, str], limits: Limits) -> Iterator[httpx.Response]:
    """Ask once; see :meth:`Session.stream`."""
    with Session(limits) as session, session.stream(url, headers, {}) as response:
        yield response


class _Body(httpx.SyncByteStream):
    """A body whose failures are ours."""

    def __init__(self, answer: httpcore.Response, host: str) -> None:
        self._answer, self._host = answer, host

    def __iter__(self) -> Iterator[bytes]:
        with _told(self._host):
            yield from self._answer.iter_stream()

    def close(self) -> None:
        with suppress(httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
            self._answer.close()


def _direct(watch: Watch) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=_tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
        keepalive_expiry=30.0,
        network_backend=Backend(watch, checked=True),
    )


def _through(proxy: str, watch: Watch) -> httpcore.ConnectionPool:
    """Connect by way of a proxy, which resolves names itself."""
    try:
        known = httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, httpx.InvalidURL) as error:
        raise NetworkError(
            f"the proxy of the environment cannot be used ({error}); expected http://host:port"
        ) from None
    if known.url.scheme not in ("http", "https"):
        raise NetworkError(f"the proxy of the environment is {known.url.scheme}://; expected http://host:port")
    return httpcore.HTTPProxy(
        proxy_url=httpcore.URL(
            scheme=known.url.raw_scheme, host=known.url.raw_host, port=known.url.port, target=known.url.raw_path
        ),
        proxy_auth=known.raw_auth,
        ssl_context=_tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")),
        network_backend=Backend(watch, checked=False),
    )


@cache
def _tls(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Return the certificates trusted here; reading them takes longer than a request. Arguments: the environment's."""
    return httpx.create_ssl_context()


@contextmanager
def _told(host: str) -> Iterator[None]:
    """Say in one class what may go wrong on the way."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpcore.ProxyError) as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise BrokenOffError(f"{host}: {reason}") from error


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
