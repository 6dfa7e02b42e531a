"""How often a host is asked: one request after the other, never faster than allowed, slower when it is slow.

The rule of the delay is AutoThrottle's of Scrapy: towards the time the host takes to answer, never below the set delay.
"""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

LONGEST_S = 3600.0  # a server may ask for more patience than that, but does not get it
_FIRST_S = 1.0  # of backing off without being told for how long
_BACK_OFF_S = 60.0  # the most of it


@dataclass
class _Host:
    least: float  # s between requests
    delay: float
    due: float = field(default=float("-inf"))  # of the clock: not before


class Pace:
    """The clock of every host that is asked."""

    def __init__(
        self,
        delay: float,
        longest: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        draw: random.Random | None = None,
    ) -> None:
        """Set up.

        Args:
            delay: s between the starts of two requests to a host, at least.
            longest: s; slow answers stretch the delay up to this.
            clock: one that never jumps.
            sleep: waits.
            draw: of the jitter.
        """
        self._delay, self._longest = delay, longest
        self._clock, self._sleep = clock, sleep
        self._draw = draw or random.Random()
        self._hosts: dict[str, _Host] = {}

    def wait(self, host: str) -> None:
        """Wait for this host's turn, and take it."""
        here = self._of(host)
        left = here.due - self._clock()
        if left > 0:
            self._sleep(left)
        here.due = self._clock() + here.delay

    def learn(self, host: str, latency: float, good: bool) -> None:
        """Adapt the delay to how long the host took; a bad answer, quick as it is, never shortens it."""
        here = self._of(host)
        new = min(max((here.delay + latency) / 2, latency, here.least), max(self._longest, here.least))
        if good or new > here.delay:
            here.delay = new

    def hold(self, host: str, seconds: float) -> None:
        """Ask nothing of this host for so long."""
        here = self._of(host)
        here.due = max(here.due, self._clock() + min(max(seconds, 0.0), LONGEST_S))

    def slow_down(self, host: str, seconds: float) -> None:
        """Leave at least so many seconds between requests from now on, as the host's robots.txt asks."""
        here = self._of(host)
        here.least = max(here.least, min(seconds, LONGEST_S))
        here.delay = max(here.delay, here.least)

    def back_off(self, tries: int) -> float:
        """Return how long to wait after so many failed tries, with jitter."""
        return min(_FIRST_S * 2.0**tries, _BACK_OFF_S) * self._draw.uniform(0.5, 1.5)

    def _of(self, host: str) -> _Host:
        return self._hosts.setdefault(host, _Host(self._delay, self._delay))


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds that a server asks to wait for, in [0, 3600]; None if it does not say.

    A date is compared with the server's own clock if it tells it: neither clock need be right then.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_S)
    until = _seconds(value)
    if until is None:
        return None
    there = _seconds(headers.get("date", ""))
    return min(max(until - (now() if there is None else there), 0.0), LONGEST_S)


def _seconds(date: str) -> float | None:
    """Return an HTTP date as seconds since 1970; None if it is none."""
    try:
        found: datetime = email.utils.parsedate_to_datetime(date)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
