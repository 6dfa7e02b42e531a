"""Fill a folder with the pictures of a dataset, whatever its kind of source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.sources.settings import (
    DanbooruSource,
    FolderSource,
    LmdbSource,
    MetfacesSource,
    Source,
    SyntheticSource,
    UrlsSource,
    VideoSource,
    Web,
    WebtoonSource,
    ZipSource,
)


@dataclass(frozen=True)
class Context:
    """What is the same for every kind of source."""

    scratch: Path  # of this dataset; survives kills and new runs, DVC does not know it
    web: Web


def gather(source: Source, out: Path, key: str, context: Context) -> dict[str, Any]:
    """Fill the existing folder ``out`` with the pictures of ``source``.

    Args:
        source: what to gather.
        out: an existing folder.
        key: the params key (``datasets.NAME``), for messages.
        context: where downloads are kept, and how servers are asked.

    Returns: ``files`` (name -> origin, group, sha256 and more, see ``Shelf.put``), ``dropped`` (origin, reason),
        ``reasons`` (kind of reason -> count) and ``ignored`` (number of files of other types). Kinds may add entries
        about the whole (``permission``, ``found``, ``inputs``).
    """
    if isinstance(source, SyntheticSource):
        from stages.sources.synthetic import draw_pages

        return draw_pages(source, out)
    if isinstance(source, WebtoonSource):
        from stages.sources.webtoon.crawl import gather_episodes

        return gather_episodes(source, out, key, context)
    if isinstance(source, UrlsSource):
        from stages.sources.urls import gather_urls

        return gather_urls(source, out, key, context)
    if isinstance(source, ZipSource):
        from stages.sources.archive import unpack

        return unpack(source, out, key)
    if isinstance(source, VideoSource):
        from stages.sources.video import cut_clips

        return cut_clips(source, out, key)
    if isinstance(source, LmdbSource):
        from stages.sources.packed import import_lmdb

        return import_lmdb(source, out, key)
    if isinstance(source, MetfacesSource):
        from stages.sources.metfaces import copy_metfaces

        return copy_metfaces(source, out, key)
    if isinstance(source, DanbooruSource):
        from stages.sources.danbooru import copy_danbooru

        return copy_danbooru(source, out, key)
    assert isinstance(source, FolderSource)
    from stages.sources.folder import copy_folder

    return copy_folder(source, out, key)
