"""The entries of ``datasets`` in params.yaml, which the stages ``crawl`` and ``crop`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from model.data.sources import Source
from pipeline.params import read_section


def read_source(params: Path, dataset: str) -> Source:
    """Read ``datasets.<dataset>``: the settings of whichever kind of source its key ``source`` names."""
    kinds: Any = Source  # a union of dataclasses, told apart by their field `source`
    return cast(Source, read_section(params, f"datasets.{dataset}", kinds))
