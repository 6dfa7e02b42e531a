"""Pictures from a list of addresses, each checked by its sha256."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.sources.gather import Context
from stages.sources.settings import UrlsSource


def gather_urls(source: UrlsSource, out: Path, key: str, context: Context) -> dict[str, Any]:
    """Fill ``out`` with the pictures of the list; see ``stages.sources.gather``."""
    raise NotImplementedError
