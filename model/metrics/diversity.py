"""How much generated images differ among themselves: variety, and distance within clusters around training images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics.extractors.base import PairDistance

Floats = NDArray[np.float64]
Rows = NDArray[np.generic]  # [N, ...]: features, or pictures


@dataclass(frozen=True)
class Ruler:
    """Measures how far apart images are, given what it needs of each: features, or the pictures themselves."""

    name: str  # of the instrument
    between: Callable[[Rows, Rows], Floats]  # [N, ...] and [M, ...] -> [N, M]
    most: int  # images of a set whose mutual distances are affordable; larger sets are cut by a fixed random choice
    family: str  # intra_distance, or intra_lpips


def feature_ruler(name: str) -> Ruler:
    """Euclidean distance between features ``[N, d]`` of the extractor called ``name``."""
    raise NotImplementedError


def picture_ruler(distance: PairDistance) -> Ruler:
    """Perceptual distance (LPIPS) between pictures, uint8 ``[N, H, W, 3]``."""
    raise NotImplementedError


@dataclass(frozen=True)
class Intra:
    """Mean distance within clusters, or why there is none."""

    value: float | None
    clusters: int
    empty: int  # clusters with 0 or 1 member
    reason: str  # why value is None; else empty


class Diversity:
    """The training images' side of diversity: measured once, compared with every cell."""

    def __init__(self, ruler: Ruler, train: Rows, seed: int) -> None:
        """Choose the centres among training images.

        Args:
            ruler: :func:`feature_ruler` or :func:`picture_ruler`.
            train: features ``[N, d]`` or pictures ``[N, H, W, 3]``, as the ruler wants, N >= 2.
            seed: of the fixed choices.
        """
        raise NotImplementedError

    def variety(self, generated: Rows) -> float:
        """Spread of generated images over that of training images: 1 for as much, 0 for one picture all over."""
        raise NotImplementedError

    def intra(self, generated: Rows) -> Intra:
        """Mean distance within clusters of generated images around the centres."""
        raise NotImplementedError

    def scores(self, generated: Rows) -> tuple[dict[str, float | None], dict[str, str]]:
        """Everything by name.

        Returns: ``variety[NAME]``, ``intra_distance[NAME]`` (``intra_lpips[NAME]`` for pictures; None if a cluster is
            empty) and ``intra_empty[NAME]``; and, by name, the reason of what is None.
        """
        raise NotImplementedError
