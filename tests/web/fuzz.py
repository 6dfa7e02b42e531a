"""Hostile pages against the parser: whatever comes, it neither crashes this process, nor hangs, nor writes a file.

    python -m tests.web.fuzz --pages 10000 --seed 0

Half of the pages are good ones that were mutated (bytes, tags, attributes cut, doubled, exchanged), the others are
made of the pieces that break parsers: depth, unclosed tags, entities, huge numbers, bad bytes, templates, scripts.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from stages.sources.webtoon.pages import LayoutError, Listed, Pages, Series
from stages.sources.webtoon.site import Site, Title
from stages.web.fetcher import Answer, Fetcher
from stages.web.sandbox import Sandbox
from stages.web.store import open_store
from tests.web.faultserver import Asked, FaultServer
from tests.web.webtoon_site import FakeWebtoon

PIECES = [
    b"<div>", b"</div>", b"<ul id=_listUl>", b"<li data-episode-no=", b"<div id=_imageList>",
    b"<img class=_images data-url=",
    b"<a href='", b'"', b"'", b">", b"<!--", b"-->", b"<![CDATA[", b"<script>", b"</script>", b"<style>", b"<template>",
    b"<svg><math><mtext>", b"<table><tr><td>", b"<select><option>", b"<plaintext>", b"<!DOCTYPE html", b"<?xml ",
    b"&#x110000;", b"&lt;&amp;amp;", b"&" + b"a" * 300 + b";", b"\x00", b"\xff\xfe", b"\xf4\x90\x80\x80",
    b"\xed\xa0\x80",
    b"99999999999999999999", b"-1", b"javascript:alert(1)", b"../../../etc/passwd", b"file:///etc/passwd", b"\r\n\r\n",
    b"<frameset>", b"<b><i><u>" * 50, b"<li>" * 200, b" a=1" * 200, b"documentURL", b"https://x.pstatic.net/a.jpg",
    b"{", b"[", b'{"result":{"episodeList":[{"episodeNo":', b"1e999", b"null", b'"\\ud800"', b"]}}", b",",
]  # fmt: skip
TITLE = Title("en", 95)
SITE = Site("https://www.example.org", "https://m.example.org", ("pstatic.net",))


@dataclass
class Found:
    """What came of it."""

    pages: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    slowest_s: float = 0.0
    most_memory_mb: float = 0.0  # of the child
    unexpected: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)  # files outside the store


class _Server:
    """Stands in for the fetcher: hands out one page."""

    def __init__(self) -> None:
        self.body = b""

    def get(self, ask: Any) -> Answer:
        return Answer(ask.url, 200, "text/html", self.body)


def good_pages() -> list[tuple[str, bytes]]:
    """Return task and content of pages as the site has them."""
    servers = [FaultServer() for _ in range(3)]
    try:
        site = FakeWebtoon(*servers)
        site.add_title("en/95")
        site.add_episodes("en/95", 12, slices=[b""] * 5)
        cookie = {"cookie": "ageGatePass=true"}
        path = site.titles["en/95"].path
        asked = {
            "series": Asked(f"{path}/list?title_no=95", cookie, 0.0),
            "viewer": Asked(f"{path}/e/viewer?title_no=95&episode_no=2", cookie, 0.0),
        }
        pages = [(task, site._www(request).body) for task, request in asked.items()]
        listing = site._mobile(Asked("/api/v1/webtoon/95/episodes", {}, 0.0))
        return [*pages, ("listing", listing.body)]
    finally:
        for server in servers:
            server.server_close()


def page(draw: random.Random, good: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return a hostile page, and what it is given out as."""
    if draw.random() < 0.5:
        task, content = draw.choice(good)
        changed = bytearray(content)
        for _ in range(draw.randint(1, 30)):
            at = draw.randrange(len(changed) + 1)
            kind = draw.random()
            if kind < 0.3:
                changed[at : at + draw.randint(1, 50)] = b""
            elif kind < 0.6:
                changed[at:at] = draw.choice(PIECES)
            elif kind < 0.8:
                changed[at : at + 1] = bytes([draw.randrange(256)])
            else:
                here = draw.randrange(len(changed) + 1)
                changed[at:at] = changed[here : here + draw.randint(1, 500)]
        return task, bytes(changed)
    task = draw.choice(["series", "viewer", "listing"])
    content = b"".join(draw.choice(PIECES) * draw.choice([1, 1, 1, 2, 50]) for _ in range(draw.randint(1, 300)))
    if draw.random() < 0.01:
        content *= draw.choice([10, 50])
    return task, content[:9_900_000]


def ask(pages: Pages, task: str) -> str:
    """Read the page as the crawler does, and check what is made of it; returns the outcome."""
    series = Series("x", "/en/a/b", ())
    if task == "series":
        # The stand-in does not redirect, so the path is the asked one.
        read = pages.series(TITLE, "/en/a/b")
        assert all(0 <= episode.number < 1_000_000 and len(episode.title) <= 300 for episode in read.newest)
        assert read.name.isprintable()
        return "a list"
    if task == "listing":
        listed = pages._whole_listing(TITLE, "/en/a/b")
        urls = [SITE.viewer_url(TITLE, "/en/a/b", episode.number, episode.link) for episode in listed]
        assert all(url.startswith("https://www.example.org/en/") and "/viewer?title_no=95&" in url for url in urls)
        return "a listing"
    viewed = pages.viewer(TITLE, series, Listed(2, "", "", ""))
    return f"an episode{': ' + viewed.skipped.split(',')[0] if viewed.skipped else ''}"


def fuzz(count: int, seed: int, folder: Path, seconds: float = 20.0) -> Found:
    """Read ``count`` pages; files may appear in ``folder / 'store'`` only."""
    draw, found, server = random.Random(seed), Found(), _Server()
    good = good_pages()
    with open_store(folder / "store") as store, Sandbox("stages.sources.webtoon.parser", seconds) as sandbox:
        pages = Pages(SITE, cast(Fetcher, server), sandbox, store)
        for number in range(count):
            task, server.body = page(draw, good)
            begun = time.monotonic()
            try:
                outcome = ask(pages, task)
            except LayoutError as error:
                outcome = "refused: " + ("parser" if "cannot be read" in str(error) else "layout")
            except Exception as error:
                outcome = "unexpected"
                found.unexpected.append(f"page {number} ({task}): {type(error).__name__}: {error}"[:300])
            found.outcomes[outcome] = found.outcomes.get(outcome, 0) + 1
            found.pages += 1
            found.slowest_s = max(found.slowest_s, time.monotonic() - begun)
        found.restarts = sandbox.restarts
    found.most_memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found.written = [str(path) for path in folder.rglob("*") if path.is_file() and folder / "store" not in path.parents]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        found = fuzz(arguments.pages, arguments.seed, Path(name))
    sys.stdout.write(json.dumps(asdict(found) | {"seconds": round(time.monotonic() - begun, 1)}, indent=2) + "\n")
    sys.exit(bool(found.unexpected or found.written))


if __name__ == "__main__":
    main()
