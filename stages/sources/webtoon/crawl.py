"""Episodes of webtoon titles: exactly those that ``episodes.json`` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.sources.gather import Context
from stages.sources.settings import WebtoonSource


def gather_episodes(source: WebtoonSource, out: Path, key: str, context: Context) -> dict[str, Any]:
    """Fill ``out`` with the pictures of every episode; see ``stages.sources.gather``."""
    raise NotImplementedError
