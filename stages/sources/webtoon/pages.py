"""What pages of webtoons.com say, checked: nothing in them is trusted, and a page that says nothing is an error."""

from __future__ import annotations

import logging
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from model.errors import CorruptInputError, NetworkError
from stages.sources.webtoon.parser import IMAGES, ITEMS, LIST, VIEWER
from stages.sources.webtoon.site import Site, Title
from stages.web.fetcher import Ask, Fetcher, RefusedError
from stages.web.sandbox import LARGEST, Sandbox, SandboxError
from stages.web.store import Store

_PAGES = 2000  # of a list
_NUMBERS = 1_000_000  # episode numbers are below
_LETTERS = 300  # of a title
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """An episode in a list."""

    number: int  # its identity; not the number shown in its title
    title: str
    date: str
    link: str


@dataclass(frozen=True)
class Series:
    """The first page of a series."""

    name: str
    path: str  # canonical: /en/fantasy/tower-of-god
    newest: tuple[Listed, ...]


@dataclass(frozen=True)
class Viewed:
    """An episode's page."""

    images: tuple[str, ...]
    skipped: str = ""  # why there are none
    passing: bool = False  # whether that may change


class LayoutError(CorruptInputError):
    """A page is not made as expected."""


class Pages:
    """Asks for pages and has them read in a child process."""

    def __init__(self, site: Site, fetcher: Fetcher, sandbox: Sandbox, store: Store) -> None:
        self.site, self._fetcher, self._sandbox, self._store = site, fetcher, sandbox, store

    def series(self, title: Title, path: str | None) -> Series:
        """Return the series behind a title.

        Raises: RefusedError if there is none; LayoutError; NetworkError for a page of something else.
        """
        url, found = self._read(self.site.list_url(title, path, 1), "series", title)
        parts = url.raw_path.decode("ascii").partition("?")[0].split("/")
        if len(parts) != 5 or parts[1] != title.language or parts[4] != "list":
            raise NetworkError(
                f"{self.site.list_url(title, path, 1)}: leads to {url}, expected the list of {title.key}; "
                "are language and number right?"
            )
        return Series(_clean(found["name"]) or title.key, "/".join(parts[:4]), tuple(_listed(found["episodes"])))

    def episodes(self, title: Title, series: Series) -> list[Listed]:
        """Return every episode of a series, in the order of their numbers.

        The JSON list is asked first: it is complete in one request, where the HTML list takes one for ten episodes
        and answers a number past its end with its last page. Some networks are refused it.
        """
        try:
            found = self._whole_listing(title, series.path)
        except (NetworkError, LayoutError) as error:
            log.info("%s: the list in one piece cannot be had, turning its pages instead (%s)", title.key, error)
            found = self._walk(title, series)
        if not found:
            raise LayoutError(
                f"{self.site.list_url(title, series.path, 1)}: no episodes, expected at least one; has the site "
                "changed? Nothing was taken over"
            )
        return sorted({episode.number: episode for episode in found}.values(), key=lambda episode: episode.number)

    def viewer(self, title: Title, series: Series, episode: Listed) -> Viewed:
        """Return the addresses of an episode's pictures.

        Raises: LayoutError if the page has no list of pictures where one is expected.
        """
        asked = self.site.viewer_url(title, series.path, episode.number, episode.link)
        try:
            url, found = self._read(asked, "viewer", title)
        except RefusedError as error:
            if error.status not in (404, 410):
                raise
            return Viewed((), f"not on the web: {error}", passing=True)
        if not url.path.endswith("/viewer") or url.params.get("episode_no") != str(episode.number):
            return Viewed((), f"not on the web: {asked} leads to {url.path[:_LETTERS]}", passing=True)
        images = tuple(str(image) for image in found["images"] if image)
        if not images and found["motion"]:
            return Viewed((), "a motion toon, which has no list of pictures")
        if not images and found["children"]:
            raise self._layout(asked, f"{VIEWER} {IMAGES}", found["page"])
        return Viewed(images, "" if images else "empty")

    def _whole_listing(self, title: Title, path: str) -> list[Listed]:
        episodes: dict[int, Listed] = {}
        cursor = 0
        for _ in range(_PAGES):
            url = self.site.listing_url(title, path, cursor)
            _, found = self._read(url, "listing", title)
            new = [episode for episode in _listed(found["episodes"]) if episode.number not in episodes]
            episodes |= {episode.number: episode for episode in new}
            following = found["next"]
            if not new or not isinstance(following, int) or isinstance(following, bool) or following <= 0:
                break
            cursor = following
        return list(episodes.values())

    def _walk(self, title: Title, series: Series) -> list[Listed]:
        """Turn the pages of the HTML list until one adds nothing: past the end the site serves the last one again."""
        episodes = {episode.number: episode for episode in series.newest}
        for page in range(2, _PAGES):
            _, found = self._read(self.site.list_url(title, series.path, page), "series", title)
            new = {e.number: e for e in _listed(found["episodes"]) if e.number not in episodes}
            if not new:
                return list(episodes.values())
            episodes |= new
        raise NetworkError(
            f"{self.site.list_url(title, series.path, 1)}: more than {_PAGES} pages with ever new episodes, expected "
            "an end; is this the right site?"
        )

    def _read(self, url: str, task: str, title: Title) -> tuple[httpx.URL, dict[str, Any]]:
        """Ask for a page and return where it was, and what is in it."""
        answer = self._fetcher.get(Ask(url, LARGEST, self.site.page_headers(title)))
        there = httpx.URL(answer.url)
        if "/agegate" in there.path.lower():
            raise NetworkError(
                f"{url}: leads to the age gate ({answer.url}), which our cookie did not open; leave the title out, or "
                "report that the gate has changed"
            )
        try:
            found = self._sandbox.call(task, answer.body)
        except SandboxError as error:
            raise LayoutError(
                f"{url}: cannot be read: {error}; the page is kept in {self._store.snapshot(answer.body)}"
            ) from error
        viewer = task == "viewer" and there.path.endswith("/viewer")
        if not found["found"] and (task != "viewer" or viewer):
            expected = {"series": LIST, "viewer": VIEWER, "listing": "result.episodeList"}[task]
            raise self._layout(url, expected, answer.body)
        if task == "series" and not found["episodes"]:
            raise self._layout(url, f"{LIST} {ITEMS}", answer.body)
        return there, {**found, "page": answer.body}

    def _layout(self, url: str, expected: str, page: bytes) -> LayoutError:
        return LayoutError(
            f"{url}: nothing matches {expected}, expected at least one: the site has changed, or this is another page; "
            f"it is kept in {self._store.snapshot(page)}; nothing was taken over"
        )


def _listed(items: list[dict[str, Any]]) -> list[Listed]:
    """Return the usable items of a list, in its order."""
    listed = []
    for item in items:
        number = _number(item["number"])
        if number is not None:
            listed.append(Listed(number, _clean(item["title"]), _date(item["date"]), str(item["link"])))
    return listed


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _NUMBERS else None


def _date(value: object) -> str:
    """Return a day: of milliseconds since 1970, or as the page has it in the words of its language."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**13:
        return datetime.fromtimestamp(value / 1000, UTC).date().isoformat()
    return _clean(value) if isinstance(value, str) else ""


def _clean(text: object) -> str:
    """Return a text that can be shown: without control letters, which could turn a line around or leave it."""
    kept = (letter for letter in str(text) if unicodedata.category(letter)[0] != "C")
    return " ".join("".join(kept).split())[:_LETTERS]
