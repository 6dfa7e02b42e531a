"""A small webtoons.com on 127.0.0.1, in the shape of the real one: three servers for pages, mobile site and pictures.

    with fake_webtoon() as site:
        site.add_title("en/95", "Tower of Test")
        site.add_episodes("en/95", 3)                        # of four small slices each
        site.add_episodes("en/95", 1, slices=[png, png])     # or with pictures of yours
        os.environ.update(site.environment())                # what makes the program ask here

``site.asked`` counts requests by kind: robots, list, listing, viewer, image. ``site.state`` says what is out of order.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.web.faultserver import HTML, Asked, FaultServer, Reply, png, serving

DAY = 86_400_000  # ms
BLANK = "https://webtoons-static.pstatic.net/image/bg_transparency.png"


@dataclass
class FakeEpisode:
    number: int
    title: str
    slices: list[bytes]


@dataclass
class FakeTitle:
    key: str
    name: str
    genre: str
    slug: str
    episodes: list[FakeEpisode] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/{self.key.partition('/')[0]}/{self.genre}/{self.slug}"

    @property
    def number(self) -> str:
        return self.key.partition("/")[2]


@dataclass
class State:
    """What is out of order."""

    listing: str = "json"  # or refused, down, cyclic (its cursor never ends), paged (two at a time)
    past_the_end: str = "last"  # page again; or endless (ever new episodes)
    age_gate: bool = True  # leads away who has no cookie
    broken: str = ""  # selector that the pages no longer have: list, items, viewer, images
    motion: set[int] = field(default_factory=set)  # episodes
    empty: set[int] = field(default_factory=set)
    not_on_web: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)
    images: dict[str, str] = field(default_factory=dict)  # "episode/slice" -> html, gone, no_original, elsewhere, busy


class FakeWebtoon:
    """See the module."""

    def __init__(self, www: FaultServer, mobile: FaultServer, images: FaultServer) -> None:
        self.www, self.mobile, self.images = www, mobile, images
        self.titles: dict[str, FakeTitle] = {}
        self.state = State()
        self.asked: Counter[str] = Counter()
        self.asked_paths: list[str] = []
        www.pages, mobile.pages, images.pages = self._www, self._mobile, self._image

    @property
    def servers(self) -> tuple[FaultServer, ...]:
        return self.www, self.mobile, self.images

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make the program ask here."""
        return {
            "CARTOON_WEBTOON_SITE": f"{self.www.base} {self.mobile.base}",
            "CARTOON_ALLOW_LOCAL": ",".join(server.place for server in self.servers),
            "CARTOON_OFFLINE": "",
        }

    def add_title(self, key: str, name: str = "Tower of Test", genre: str = "fantasy", slug: str = "a-slug") -> None:
        self.titles[key] = FakeTitle(key, name, genre, slug)

    def add_episodes(self, key: str, count: int, slices: Sequence[bytes] | int = 4, title: str = "") -> list[int]:
        """Publish episodes, each with the pictures given or with so many of its own; returns their numbers."""
        episodes = self.titles[key].episodes
        numbers = []
        for _ in range(count):
            # Numbers have gaps, as on the real site.
            number = len(episodes) + 1 + len(episodes) // 5
            seed = sum(map(ord, key)) * 1_000_000 + number * 1000
            given = [png(seed + n) for n in range(slices)] if isinstance(slices, int) else list(slices)
            episodes.append(FakeEpisode(number, title or f"Ep. {number - 1} <&> more", given))
            numbers.append(number)
        return numbers

    def forget(self) -> None:
        """Count requests from here."""
        self.asked.clear()
        self.asked_paths.clear()
        for server in self.servers:
            server.asked.clear()

    def _count(self, kind: str, asked: Asked) -> None:
        with self.www.lock:
            self.asked[kind] += 1
            self.asked_paths.append(asked.path)

    def _www(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/ageGate":
            return Reply(HTML)
        title = next((t for t in self.titles.values() if t.number == query.get("title_no")), None)
        if title is None:
            return Reply(b"<html>404</html>", status=404)
        if self.state.age_gate and "ageGatePass=true" not in asked.headers.get("cookie", ""):
            return Reply(b"", status=302, headers={"Location": "/ageGate"})
        if parts.path.endswith("/viewer"):
            self._count("viewer", asked)
            return self._viewer(title, int(query["episode_no"]))
        self._count("list", asked)
        if parts.path != f"{title.path}/list":
            return Reply(b"", status=301, headers={"Location": f"{title.path}/list?{parts.query}"})
        return self._list(title, int(query.get("page", "1")))

    def _visible(self, title: FakeTitle) -> list[FakeEpisode]:
        return [episode for episode in title.episodes if episode.number not in self.state.withdrawn]

    def _list(self, title: FakeTitle, page: int) -> Reply:
        newest = self._visible(title)[::-1]
        last = max(1, -(-len(newest) // 10))
        if page > last and self.state.past_the_end == "endless":
            shown = [FakeEpisode(5000 + page, "endless", [])]
        else:
            here = min(page, last)
            shown = newest[10 * here - 10 : 10 * here]
        items = "".join(self._item(title, episode) for episode in shown)
        if self.state.broken == "items":
            items = ""
        name = "newList" if self.state.broken == "list" else "_listUl"
        body = (
            f'<html><head><meta property="og:title" content="{html.escape(title.name)}"></head><body>'
            f'<h1 class="subj">{html.escape(title.name)}</h1><ul id="{name}">{items}</ul>'
            '<div class="paginate"><a href="#"><span>1</span></a></div></body></html>'
        )
        return Reply(body.encode())

    def _link(self, title: FakeTitle, episode: FakeEpisode) -> str:
        return f"{title.path}/ep-{episode.number}/viewer?title_no={title.number}&episode_no={episode.number}"

    def _item(self, title: FakeTitle, episode: FakeEpisode) -> str:
        link = html.escape(self.www.base + self._link(title, episode))
        return (
            f'<li class="_episodeItem" id="episode_{episode.number}" data-episode-no="{episode.number}">'
            f'<a href="{link}"><span class="thmb"><img src="t.jpg"></span>'
            f'<span class="subj"><span>{html.escape(episode.title)}</span></span>'
            f'<span class="date">Jun {episode.number}, 2014</span><span class="tx">#{episode.number}</span></a></li>'
        )

    def _viewer(self, title: FakeTitle, number: int) -> Reply:
        episode = next((e for e in self._visible(title) if e.number == number), None)
        if episode is None or number in self.state.not_on_web:
            return Reply(b"", status=302, headers={"Location": f"{title.path}/list?title_no={title.number}"})
        images, script = "", ""
        if number in self.state.motion:
            script = "<script>var m = {documentURL: 'https://x/doc.json'}</script>"
        elif number not in self.state.empty:
            images = "".join(self._slice(title, number, n) for n in range(len(episode.slices)))
        name = "other" if self.state.broken == "viewer" else "_imageList"
        body = (
            f'<html><body><img class="_thumbnailImages" data-url="https://elsewhere.example/thumb_1.jpg?type=f160">'
            f'<div class="viewer_img _img_viewer_area" id="{name}">{images}</div>{script}</body></html>'
        )
        return Reply(body.encode())

    def _slice(self, title: FakeTitle, number: int, n: int) -> str:
        base = self.images.base
        if self.state.images.get(f"{number}/{n}") == "elsewhere":
            base = "https://elsewhere.example"
        link = f"{base}/2020/{title.key.replace('/', '_')}/{number}/{n}/It's [1].PNG?type=q90&amp;v=1"
        address = "data-src" if self.state.broken == "images" else "data-url"
        return f'<img src="{BLANK}" width="800" height="1280.0" class="_images" {address}="{link}" rel="nofollow">'

    def _mobile(self, asked: Asked) -> Reply:
        self._count("listing", asked)
        kind, number = urlsplit(asked.path).path.split("/")[3:5]
        title = next((t for t in self.titles.values() if t.number == number), None)
        if self.state.listing == "down":
            return Reply(b"", status=503)
        if self.state.listing == "refused" or title is None or (kind == "canvas") != (title.genre == "canvas"):
            return Reply(b"Connect Error", "text/plain", 403)
        episodes = [
            {
                "episodeNo": e.number, "episodeTitle": e.title, "viewerLink": self._link(title, e),
                "exposureDateMillis": e.number * DAY, "displayUp": False, "hasBgm": False, "thumbnail": "/t.jpg",
            }
            for e in self._visible(title)
        ]  # fmt: skip
        following = 7 if self.state.listing == "cyclic" else 0
        if self.state.listing == "paged":
            start = int(parse_qs(urlsplit(asked.path).query).get("cursor", ["0"])[0])
            following = start + 2 if start + 2 < len(episodes) else 0
            episodes = episodes[start : start + 2]
        answer = {"result": {"episodeList": episodes, "nextCursor": following}}
        return Reply(json.dumps(answer).encode(), "application/json")

    def _image(self, asked: Asked) -> Reply:
        self._count("image", asked)
        if not asked.headers.get("referer", "").startswith(self.www.base):
            return Reply(b"denied", "text/plain", 403)
        parts = urlsplit(asked.path)
        _, _, key, number, n, _ = parts.path.split("/")
        fault = self.state.images.get(f"{number}/{n}")
        if fault == "gone" or (fault == "no_original" and "type=" not in parts.query):
            return Reply(b"gone", "text/plain", 404)
        if fault == "html":
            return Reply(HTML, "image/png")
        if fault == "busy":
            return Reply(b"", "text/plain", 503)
        episodes = self.titles[key.replace("_", "/")].episodes
        content = next(e for e in episodes if e.number == int(number)).slices[int(n)]
        return Reply(content, "image/png")


@contextmanager
def fake_webtoon() -> Iterator[FakeWebtoon]:
    """Serve until the block ends."""
    with ExitStack() as stack:
        yield FakeWebtoon(*(stack.enter_context(serving()) for _ in range(3)))
