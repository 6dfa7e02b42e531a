"""Fill a folder with the pictures of a dataset, whatever its kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.sources.settings import FolderSource, Source, SyntheticSource


def gather(source: Source, out: Path, key: str) -> dict[str, Any]:
    """Fill the existing folder ``out`` with the pictures of ``source``.

    Args:
        source: what to gather.
        out: an existing folder.
        key: the params key (``datasets.NAME``), for messages.

    Returns: ``files`` (name -> origin, group, sha256 and more, see ``Shelf.put``), ``dropped`` (origin, reason) and
        ``ignored`` (number of files of other types). Kinds may add entries about the whole (``permission``).
    """
    if isinstance(source, SyntheticSource):
        from stages.sources.synthetic import draw_pages

        return draw_pages(source, out)
    assert isinstance(source, FolderSource)
    from stages.sources.folder import copy_folder

    return copy_folder(source, out, key)
