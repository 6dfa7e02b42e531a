"""Episodes of webtoon titles: exactly those that ``episodes.json`` names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.errors import CorruptInputError
from model.progress import track
from stages.sources.gather import Context
from stages.sources.settings import Pick, WebtoonSource
from stages.sources.shelf import Shelf
from stages.sources.webtoon.manifest import FILE, Entry, Episode, Manifest, Picture, read_manifest
from stages.sources.webtoon.permission import read_permissions
from stages.sources.webtoon.update import Desk, open_desk, update
from stages.web.pictures import NoPictureError, fetch_picture


def gather_episodes(source: WebtoonSource, out: Path, key: str, context: Context) -> dict[str, Any]:
    """Fill ``out`` with the pictures of every episode; see ``stages.sources.gather``.

    Titles that the manifest does not have yet are taken over into it first. Episodes that it has are never looked up:
    new ones come by ``cartoon-pipeline datasets update``.

    Raises: UsageError without permission or contact; CorruptInputError for a picture that is no longer the same;
        BudgetError if too many are gone; NetworkError.
    """
    where = Path(source.where)
    permissions = read_permissions(where, source.titles, key)
    shelf = Shelf(out)
    with open_desk(source, key, context) as desk:
        new = [title for title in source.titles if title not in read_manifest(where / FILE).titles]
        if new:
            update(source, key, desk, new)
        episodes = list(_chosen(source, read_manifest(where / FILE)))
        for entry, episode in track(episodes, "gather episodes", unit="episodes"):
            _put(entry, episode, shelf, desk, where / FILE)
    shelf.check_budget(sum(len(e.images) for _, e in episodes), source.max_bad_fraction, f"{key}.max_bad_fraction")
    stated = {title: {"permission": entry.permission, "rights": entry.rights} for title, entry in permissions.items()}
    return {**shelf.record(), "permission": stated, "web": {"robots": context.web.robots}}


def _chosen(source: WebtoonSource, manifest: Manifest) -> Iterator[tuple[Entry, Episode]]:
    """Yield the episodes to gather, in the order of the settings and of the manifest."""
    found = [
        (manifest.titles[title], episode)
        for title in source.titles
        if title in manifest.titles
        for episode in manifest.titles[title].episodes[: source.max_episodes]
    ]
    picked = _pick([_group(entry, episode) for entry, episode in found], source.pick)
    yield from ((entry, episode) for entry, episode in found if _group(entry, episode) in picked)


def _pick(groups: list[str], pick: Pick | None) -> set[str]:
    """Choose whole episodes: each has a rank of its own, so that new ones do not change the order of the others."""
    if pick is None:
        return set(groups)
    return set(sorted(groups, key=lambda group: hashlib.sha256(f"{pick.seed} {group}".encode()).digest())[: pick.count])


def _put(entry: Entry, episode: Episode, shelf: Shelf, desk: Desk, manifest: Path) -> None:
    group = _group(entry, episode)
    if episode.skipped:
        shelf.dropped.append({"origin": group, "reason": episode.skipped})
    for order, image in enumerate(episode.images):
        if image.dropped:
            shelf.refuse(image.url, image.dropped)
            continue
        try:
            content = _content(image, desk, manifest)
        except NoPictureError as error:
            shelf.refuse(image.url, str(error))
            continue
        stem = f"{entry.language}-{entry.number}-{episode.number:04d}-{order:03d}"
        shelf.put(content, image.url, group, stem, strip=group, order=order)


def _content(image: Picture, desk: Desk, manifest: Path) -> bytes:
    """Return a picture of the manifest, from the store if it is there."""
    content = desk.store.get(image.sha256)
    if content is not None:
        return content
    _, digest = fetch_picture([image.url], desk.way, desk.fetcher, desk.store, image.sha256)
    content = desk.store.get(digest)
    if digest != image.sha256 or content is None:
        raise CorruptInputError(
            f"{image.url}: found sha256 {digest}, expected {image.sha256} ({manifest}): the site has replaced the "
            "picture; to use the new one, remove its episode from that file and run `cartoon-pipeline datasets update`"
        )
    return content


def _group(entry: Entry, episode: Episode) -> str:
    return f"{entry.language}/{entry.number} episode {episode.number}"
