"""The entries of ``datasets`` in params.yaml: one dataclass per kind of source.

``where`` is in every entry and names what on this machine the dataset comes from; DVC watches it, so a changed file
makes the stage ``crawl`` stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from pipeline.params import read_section


@dataclass(frozen=True)
class Pick:
    """A random part of what there is."""

    count: int  # pictures; all of them if there are fewer
    seed: int

    def __post_init__(self) -> None:
        """Refuse an empty choice."""
        if self.count < 1:
            raise ValueError(f"count must be at least 1, found {self.count}")


@dataclass(frozen=True)
class SyntheticSource:
    """Comic pages drawn by ``model.data.synthetic``."""

    source: Literal["synthetic"]
    where: str  # the code that draws them: model/data/synthetic
    style: str  # of the faces: photo, flat, ink
    pages: int
    seed: int
    face: str  # a key of crop.faces, or `none`
    exclude: str  # a file that lists crops not to be used; exclusions/none.txt lists none
    license: str


@dataclass(frozen=True)
class FolderSource:
    """Image files of the user."""

    source: Literal["folder"]
    where: str  # the folder, relative to the project's root; searched recursively
    pick: Pick | None  # null = all
    max_bad_fraction: float  # share of unreadable files that is tolerated
    face: str  # a key of crop.faces, or `none` when every image is a face crop already
    exclude: str
    license: str

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        check_share(self.max_bad_fraction)


Source = SyntheticSource | FolderSource


def check_share(max_bad_fraction: float) -> None:
    """Refuse a share of bad items that is none; ValueError."""
    if not 0 <= max_bad_fraction < 1:
        raise ValueError(f"max_bad_fraction must be in [0, 1), found {max_bad_fraction}")


def read_source(params: Path, dataset: str) -> Source:
    """Read ``datasets.<dataset>``: the settings of whichever kind of source its key ``source`` names."""
    kinds: Any = Source  # a union of dataclasses, told apart by their field `source`
    return cast(Source, read_section(params, f"datasets.{dataset}", kinds))
