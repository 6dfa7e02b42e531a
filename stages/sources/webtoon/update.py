"""New episodes: the site is asked for its lists and for what the manifest does not have yet, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from model.errors import NetworkError, UserError
from model.progress import Progress
from stages.sources.gather import Context
from stages.sources.settings import WebtoonSource
from stages.sources.shelf import check_budget
from stages.sources.webtoon.manifest import (
    FILE,
    Entry,
    Episode,
    Picture,
    fingerprint,
    read_manifest,
    write_manifest,
)  # fmt: skip
from stages.sources.webtoon.pages import LayoutError, Listed, Pages, Series
from stages.sources.webtoon.permission import read_permissions
from stages.sources.webtoon.site import Site, Title, the_site, title_of
from stages.web.addresses import AddressError
from stages.web.fetcher import Fetcher, RefusedError
from stages.web.pictures import NoPictureError, Way, fetch_picture, size_of
from stages.web.sandbox import Sandbox
from stages.web.store import Store, open_store

_DRAFTS = "drafts"
log = logging.getLogger(__name__)


@dataclass
class News:
    """What an update found."""

    new: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)  # in the manifest, no longer on the site


@dataclass(frozen=True)
class Desk:
    """Everything that talks to the site for one dataset."""

    site: Site
    fetcher: Fetcher
    store: Store
    pages: Pages

    @property
    def way(self) -> Way:
        """Return how pictures are asked for."""
        return Way(self.site.image_headers(), self.site.check_image)


@contextmanager
def open_desk(source: WebtoonSource, key: str, context: Context) -> Iterator[Desk]:
    """Check the permission, lock the store and open connections.

    Raises: UsageError without permission or contact; LockedError if another process is at the same dataset.
    """
    read_permissions(Path(source.where), source.titles, key)
    site = the_site()
    with (
        Fetcher(context.web) as fetcher,
        open_store(context.scratch) as store,
        Sandbox("stages.sources.webtoon.parser") as sandbox,
    ):
        yield Desk(site, fetcher, store, Pages(site, fetcher, sandbox, store))


def update(source: WebtoonSource, key: str, desk: Desk, titles: Sequence[str]) -> News:
    """Take new episodes of some titles over into the manifest, at the end of what it has.

    The manifest is written once, when everything is here. What an interrupted update has got is in a draft beside the
    store and not asked for again.

    Raises: BudgetError if too many new pictures are none; LayoutError, NetworkError. The manifest is unchanged then.
    """
    path = Path(source.where) / FILE
    draft = _Draft(desk.store.folder / _DRAFTS, path)
    before = {title: entry.numbers for title, entry in read_manifest(path).titles.items()}
    news = News()
    for name in titles:
        _update_title(title_of(name), source.max_episodes, desk, draft, news)
    fresh = [
        (entry, episode)
        for name, entry in draft.manifest.titles.items()
        for episode in entry.episodes
        if episode.number not in before.get(name, set())
    ]
    try:
        _refuse_nothing(titles, draft, news, key)
        _check_budget([episode for _, episode in fresh], source.max_bad_fraction, key)
    except UserError:
        draft.discard()  # what came instead of pictures is asked for again, the pictures are in the store
        raise
    news.new = [
        f"{entry.language}/{entry.number} episode {episode.number}: {episode.title}" for entry, episode in fresh
    ]
    if draft.changed:
        write_manifest(path, draft.manifest)
    draft.discard()
    return news


def _update_title(title: Title, most: int | None, desk: Desk, draft: _Draft, news: News) -> None:
    entry = draft.manifest.titles.get(title.key)
    try:
        series = desk.pages.series(title, entry.path if entry else None)
    except RefusedError as error:
        if error.status not in (404, 410):
            raise
        if entry is None:
            raise NetworkError(f"{error}; expected {title.key} there: are language and number right?") from error
        news.withdrawn.append(f"{title.key}, all of it")
        return
    listed = desk.pages.episodes(title, series)
    entry = entry or Entry(title.language, title.number, series.name, series.path)
    gone = sorted(entry.numbers - {episode.number for episode in listed})
    news.withdrawn += [f"{title.key} episode {number}" for number in gone]
    new = [episode for episode in listed[:most] if episode.number not in entry.numbers]
    with Progress(f"new episodes of {title.key}", len(new), "episodes") as progress:
        for done, episode in enumerate(new, 1):
            harvested = _harvest(title, series, episode, desk, news, progress)
            progress.update(done - progress.done)
            if harvested is not None:
                entry = entry.plus(harvested)
                draft.save(title.key, entry)


def _harvest(
    title: Title, series: Series, listed: Listed, desk: Desk, news: News, progress: Progress
) -> Episode | None:
    """Fetch an episode; None for one that may come later."""
    viewed = desk.pages.viewer(title, series, listed)
    if viewed.skipped:
        news.skipped.append(f"{title.key} episode {listed.number}: {viewed.skipped}")
        if viewed.passing:
            return None
    images = []
    for found in viewed.images:
        images.append(_picture(found, desk))
        progress.update(0.99 / len(viewed.images))  # minutes pass with one episode
    return Episode(listed.number, listed.title, listed.date, tuple(images), viewed.skipped)


def _picture(found: str, desk: Desk) -> Picture:
    try:
        url, digest = fetch_picture(desk.site.image_urls(found), desk.way, desk.fetcher, desk.store)
    except (NoPictureError, AddressError) as error:
        return Picture(found, dropped=str(error))
    content = desk.store.get(digest)
    assert content is not None
    width, height = size_of(content)
    return Picture(url, digest, len(content), width, height)


def _refuse_nothing(titles: Sequence[str], draft: _Draft, news: News, key: str) -> None:
    for title in titles:
        entry = draft.manifest.titles.get(title)
        if entry is None or not any(episode.images for episode in entry.episodes):
            reasons = "; ".join(news.skipped[:3])
            raise LayoutError(
                f"{key}: {title}: no episode has pictures ({reasons}), expected at least one; has the site changed?"
            )


def _check_budget(episodes: Sequence[Episode], fraction: float, key: str) -> None:
    images = [image for episode in episodes for image in episode.images]
    dropped = [{"origin": image.url, "reason": image.dropped} for image in images if image.dropped]
    check_budget(len(dropped), len(images), fraction, f"{key}.max_bad_fraction", dropped)


class _Draft:
    """The manifest as it will be, saved after every episode; it goes with one state of the manifest only."""

    def __init__(self, folder: Path, manifest: Path) -> None:
        self._folder = folder
        self._path = folder / f"{fingerprint(manifest) or 'none'}.json"
        self.changed = self._path.is_file()
        self.manifest = read_manifest(self._path if self.changed else manifest)

    def save(self, key: str, entry: Entry) -> None:
        """Save one more episode."""
        self.manifest.titles[key] = entry
        self.changed = True
        write_manifest(self._path, self.manifest)

    def discard(self) -> None:
        """Remove it, and those that go with earlier states."""
        for path in self._folder.glob("*.json"):
            path.unlink()
