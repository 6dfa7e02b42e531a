"""Addresses of webtoons.com: how its pages and pictures are asked for, and which hosts pictures may come from."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass

import httpx

from stages.web.addresses import AddressError, is_local, parse_url, place_of

SITE = "CARTOON_WEBTOON_SITE"  # two base addresses, of the pages and of the mobile site: a server of the tests
_FAN_SERIES = ("canvas", "challenge")  # genres whose list has an address of its own


@dataclass(frozen=True)
class Title:
    """A series: language and number are its identity, everything else about it may change."""

    language: str
    number: int

    @property
    def key(self) -> str:
        """Return it as settings write it."""
        return f"{self.language}/{self.number}"


@dataclass(frozen=True)
class Site:
    """The hosts."""

    www: str
    mobile: str
    images: tuple[str, ...]  # hosts, and all below them

    def list_url(self, title: Title, path: str | None, page: int) -> str:
        """Return a page of the episode list; a wrong path is redirected to the right one."""
        place = path or f"/{title.language}/genre/title"
        return f"{self.www}{place}/list?title_no={title.number}" + (f"&page={page}" if page > 1 else "")

    def listing_url(self, title: Title, path: str, cursor: int) -> str:
        """Return the episode list as JSON."""
        kind = "canvas" if path.split("/")[2:3] and path.split("/")[2] in _FAN_SERIES else "webtoon"
        more = f"&cursor={cursor}" if cursor else ""
        return f"{self.mobile}/api/v1/{kind}/{title.number}/episodes?pageSize=99999{more}"

    def viewer_url(self, title: Title, path: str, number: int, link: str) -> str:
        """Return the page of an episode. Of a link only the path is used: the mobile host has no pictures."""
        try:
            there = parse_url(self.www).join(link).raw_path.decode("ascii").partition("?")[0]
        except (httpx.InvalidURL, ValueError):
            there = ""
        if not (there.startswith(f"/{title.language}/") and there.endswith("/viewer")):
            there = f"{path}/episode-{number}/viewer"
        return f"{self.www}{there}?title_no={title.number}&episode_no={number}"

    def page_headers(self, title: Title) -> dict[str, str]:
        """Return what the age and consent gate asks for; the title's own number stands in the user's permission."""
        cookies = {
            "ageGatePass": "true", "needGDPR": "false", "needCCPA": "false", "needCOPPA": "false", "pagGDPR": "true",
            "atGDPR": "AD_CONSENT", "locale": title.language,
        }  # fmt: skip
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}

    def image_headers(self) -> dict[str, str]:
        """Return what the image host wants to see."""
        return {"Referer": f"{self.www}/"}

    def image_urls(self, found: str) -> list[str]:
        """Return the addresses of a picture, the original first, then the copy for display.

        Raises: AddressError for a host that pictures do not come from.
        """
        shown = parse_url(html.unescape(found) if "&#" in found or "&amp;" in found else found)
        self.check_image(shown)
        original = shown.copy_remove_param("type") if "type" in shown.params else shown
        return list(dict.fromkeys([str(original), str(shown)]))

    def check_image(self, url: httpx.URL) -> None:
        """Refuse hosts that pictures do not come from; AddressError."""
        known = any(url.host == host or url.host.endswith(f".{host}") for host in self.images)
        if not known and not is_local(place_of(url)):
            raise AddressError(f"{url.host}: pictures are expected from {', '.join(self.images)} only")


def the_site() -> Site:
    """Return the real site, or what CARTOON_WEBTOON_SITE puts in its place."""
    www, mobile = os.environ.get(SITE, "https://www.webtoons.com https://m.webtoons.com").split()
    return Site(www, mobile, ("pstatic.net",))


def title_of(key: str) -> Title:
    """Return the title that settings write as ``language/number``."""
    language, _, number = key.partition("/")
    return Title(language, int(number))
