"""Likeness to the source: every paired measure of a cell, with floors, intervals and lifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics.extractors.base import Images, Instrument
from model.metrics.similarity import Floats, PerPair

PERFECT = {  # family -> value of a perfect copy; what is not here has no lift
    "landmark_nme": 0.0, "attribute_mse": 0.0, "edge_ssim": 1.0, "lowres_rgb_mse_8": 0.0, "lowres_rgb_mse_16": 0.0,
    "lowres_rgb_mse_32": 0.0, "cos": 1.0, "selfsim": 0.0, "retrieval_top1": 1.0, "lpips": 0.0, "arcface_cos": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """A cell's pictures beside the source's, in numbers: the pictures themselves are not kept."""

    pairs: Mapping[str, PerPair]  # measure -> one number per pair [N]; NaN where there is nothing to measure
    others: Mapping[str, PerPair]  # the same of each source face beside a drawing that is not its own
    correlation: Mapping[str, float]  # attribute -> Pearson correlation over pairs; empty without a reader


class SourceSide:
    """The source's half of all pairs: read once, compared with every cell.

    Image i of a cell belongs to image i of the source: drawn from the same w. Kept are the source's pictures (by
    reference), their features and their self-similarities; of a cell, only while :meth:`see` runs.
    """

    def __init__(self, images: Images, instruments: Sequence[Instrument], seed: int) -> None:
        """Read the source's pictures.

        Args:
            images: uint8 ``[N, H, W, 3]``, N >= 2.
            instruments: what measures likeness, each told apart by what it can do: a reader of faces gives
                landmark_nme and attribute_mse; features give cos and retrieval_top1, patches selfsim, too; a distance
                of pairs gives lpips; a reader of identities arcface_cos and face_detect_rate. edge_ssim and
                lowres_rgb_mse_8, _16, _32 need none.
            seed: of the shuffled partners and the resamples.
        """
        raise NotImplementedError

    def see(self, images: Images) -> Seen:
        """Compare a cell's pictures, uint8 ``[N, H, W, 3]``, with the source's: the only pass over them."""
        raise NotImplementedError

    def per_pair(self, seen: Seen) -> dict[str, PerPair]:
        """Every measure of a cell, one number per pair; NaN where there is nothing to measure (no face)."""
        return dict(seen.pairs)

    def means(self, seen: Seen) -> dict[str, float]:
        """Mean of every measure over the pairs that have it; NaN if none has."""
        raise NotImplementedError

    def shuffled(self, seen: Seen) -> dict[str, float]:
        """The floor: the same means with every drawing beside a source face that is not its own."""
        raise NotImplementedError

    def scores(self, seen: Seen) -> dict[str, float]:
        """Means, 95 % intervals, and lifts over this cell's own shuffled floor.

        Returns: by name: ``cos[EXT]``, ``cos_low[EXT]``, ``cos_high[EXT]``, ``cos_lift[EXT]`` (see :func:`named`), for
            every measure (no lift of face_detect_rate); with a reader of faces ``attribute_corr`` and
            ``corr_<attribute>``. A lift is 0 at the floor and 1 for a perfect copy; NaN where the floor is perfect
            already.
        """
        raise NotImplementedError


def named(measure: str, suffix: str) -> str:
    """Return the name of a measure's statistic or variant: ``named("cos[EXT]", "lift")`` -> ``cos_lift[EXT]``.

    The variant comes before the statistic: own means and lifts are ``cos_own[EXT]`` and ``cos_own_lift[EXT]``.
    """
    raise NotImplementedError


def own_names(scores: Mapping[str, float]) -> dict[str, float]:
    """Rename the result of :meth:`SourceSide.scores` for pairs where every model used its own mapping network."""
    raise NotImplementedError


def worst(measure: str, values: Floats, count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` pairs farthest from a perfect copy, worst first; NaN last."""
    raise NotImplementedError
