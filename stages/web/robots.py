"""robots.txt, obeyed as RFC 9309 says."""

from __future__ import annotations

import math
from collections.abc import Callable

import httpx
from protego import Protego

from model.errors import NetworkError

TOKEN = "cartoon-pipeline"  # what robots.txt may call this program
LARGEST = 500_000  # bytes that are read of it


class RobotsError(NetworkError):
    """A page that its host does not want to be asked for."""


class Robots:
    """The rules of every host asked so far."""

    def __init__(
        self, fetch: Callable[[str], tuple[int, bytes]], slow_down: Callable[[httpx.URL, float], None]
    ) -> None:
        """Set up.

        Args:
            fetch: returns status and body of an address; raises NetworkError for an unreachable host or a 5xx.
            slow_down: told the seconds between requests that a host asks for.
        """
        self._fetch, self._slow_down = fetch, slow_down
        self._known: dict[str, Protego | NetworkError] = {}

    def check(self, url: httpx.URL) -> None:
        """Refuse a page that its host's robots.txt disallows, or whose host cannot say for now.

        Raises: RobotsError.
        """
        place = f"{url.scheme}://{url.netloc.decode('ascii')}"
        if place not in self._known:
            self._known[place] = self._read(url, place)
        rules = self._known[place]
        if isinstance(rules, NetworkError):
            raise RobotsError(
                f"{place}/robots.txt: cannot be read ({rules}), so nothing may be asked of this host; try again later"
            ) from rules
        if not rules.can_fetch(str(url), TOKEN):
            raise RobotsError(
                f"{url}: its host's robots.txt disallows it; leave it out, or, if its owner permits you more than "
                "robots.txt says, set crawl.robots: ignore, which is noted in the dataset's record"
            )

    def _read(self, url: httpx.URL, place: str) -> Protego | NetworkError:
        try:
            status, body = self._fetch(f"{place}/robots.txt")
        except NetworkError as error:
            return error
        text = body.decode("utf-8", "replace") if status < 400 else ""  # 4xx: the host has no rules
        rules = Protego.parse(text)
        asked = [rules.crawl_delay(TOKEN) or 0.0]
        rate = rules.request_rate(TOKEN)
        if rate is not None and rate.requests > 0:
            asked.append(rate.seconds / rate.requests)
        seconds = max(value for value in asked if math.isfinite(value) or value == 0)
        if seconds > 0:
            self._slow_down(url, seconds)
        return rules
