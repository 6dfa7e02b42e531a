"""Fill a folder with the pictures of a dataset, whatever its kind of source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.sources.settings import FolderSource, Source, SyntheticSource, UrlsSource, Web, WebtoonSource


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

    Returns: ``files`` (name -> origin, group, sha256 and more, see ``Shelf.put``), ``dropped`` (origin, reason) and
        ``ignored`` (number of files of other types). Kinds may add entries about the whole (``permission``).
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
    assert isinstance(source, FolderSource)
    from stages.sources.folder import copy_folder

    return copy_folder(source, out, key)
