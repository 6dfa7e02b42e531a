"""Connections that go only where they may, and do not wait for ever.

A socket's timeout counts from byte to byte, so a server that sends one byte a second never trips it. These streams
also end when the whole answer takes too long, or comes too slowly.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpcore

from stages.web.addresses import resolve


@dataclass(frozen=True)
class Limits:
    """What is waited for and accepted of one answer."""

    connect_s: float = 10.0
    read_s: float = 60.0  # without a byte
    deadline_s: float | None = None  # for the whole answer; None for files whose size says nothing about the time
    least_rate: float = 1000.0  # bytes/s ...
    rate_s: float = 30.0  # ... over so many seconds of waiting
    redirects: int = 10


class TooSlowError(httpcore.ReadTimeout):
    """The deadline has passed, or the bytes come too slowly."""


class Watch:
    """The time of one answer."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self.clock = limits, clock
        self.begin()

    def begin(self) -> None:
        """Start the time of another answer."""
        self._ends = None if self.limits.deadline_s is None else self.clock() + self.limits.deadline_s
        self._waited, self._bytes, self._any = 0.0, 0, False

    def left(self, timeout: float | None) -> float | None:
        """Return for how long one more operation may take."""
        if self._ends is None:
            return timeout
        left = self._ends - self.clock()
        if left <= 0:
            raise TooSlowError(f"not whole after {self.limits.deadline_s:g} s")
        return left if timeout is None else min(timeout, left)

    def came(self, count: int, waited: float) -> None:
        """Note that ``count`` bytes came after ``waited`` seconds; the server may think before the first."""
        if self._any:
            self._waited += waited
        self._any = True
        self._bytes += count
        if self._waited >= self.limits.rate_s:
            if self._bytes < self.limits.least_rate * self._waited:
                raise TooSlowError(f"{self._bytes} bytes in {self._waited:.0f} s")
            self._waited, self._bytes = 0.0, 0

    def stopped(self) -> TooSlowError:
        """Say why an operation timed out."""
        if self._ends is not None and self.clock() >= self._ends - 0.01:
            return TooSlowError(f"not whole after {self.limits.deadline_s:g} s")
        return TooSlowError(f"no byte for {self.limits.read_s:g} s")


class Backend(httpcore.NetworkBackend):
    """Connects to checked addresses of a host, resolved once."""

    def __init__(self, watch: Watch, checked: bool) -> None:
        """Set up; ``checked`` is False for the way to a proxy, which the user has named."""
        self._watch, self._checked = watch, checked
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers."""
        addresses = resolve(host, port) if self._checked else [host]
        for number, address in enumerate(addresses, 1):
            try:
                plain = self._plain.connect_tcp(address, port, self._watch.left(timeout))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
            else:
                return _Stream(plain, self._watch)
        raise AssertionError("a host has at least one address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Never."""
        raise httpcore.ConnectError("sockets of this machine are never asked")


class _Stream(httpcore.NetworkStream):
    """A stream under watch."""

    def __init__(self, plain: httpcore.NetworkStream, watch: Watch) -> None:
        self._plain, self._watch = plain, watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        begun = self._watch.clock()
        try:
            data = self._plain.read(max_bytes, self._watch.left(timeout))
        except httpcore.ReadTimeout as error:
            raise self._watch.stopped() from error
        self._watch.came(len(data), self._watch.clock() - begun)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._plain.write(buffer, self._watch.left(timeout))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._plain.start_tls(ssl_context, server_hostname, self._watch.left(timeout)), self._watch)

    def get_extra_info(self, info: str) -> Any:
        return self._plain.get_extra_info(info)
