"""Likeness to the source: every paired measure of a cell, with floors, intervals and lifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.metrics.bootstrap import mean_interval
from model.metrics.extractors.base import Images, Instrument
from model.metrics.measures import LOWRES, Faces, measures_of
from model.metrics.names import parse
from model.metrics.similarity import Floats, PerPair, derangement, lift

PERFECT = {  # family -> value of a perfect copy; what is not here has no lift
    "landmark_nme": 0.0, "attribute_mse": 0.0, "edge_ssim": 1.0, **{f"lowres_rgb_mse_{size}": 0.0 for size in LOWRES},
    "cos": 1.0, "selfsim": 0.0, "retrieval_top1": 1.0, "lpips": 0.0, "arcface_cos": 1.0,
}  # fmt: skip
STATISTICS = ("low", "high", "lift")  # of a measure, beside its mean


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
        self.seed, self.partners = seed, derangement(len(images), seed)
        self._shape = images.shape
        self._measures = measures_of(instruments)
        self._source = [measure.look(images) for measure in self._measures]

    def see(self, images: Images) -> Seen:
        """Compare a cell's pictures, uint8 ``[N, H, W, 3]``, with the source's: the only pass over them.

        Raises: ValueError for pictures of another number, size or type than the source's.
        """
        if images.shape != self._shape or images.dtype != np.uint8:
            raise ValueError(f"pictures are {images.dtype} {images.shape}, the source's are uint8 {self._shape}")
        own = np.arange(len(images))
        pairs: dict[str, PerPair] = {}
        others: dict[str, PerPair] = {}
        correlation: dict[str, float] = {}
        for measure, mine in zip(self._measures, self._source, strict=True):
            theirs = measure.look(images)
            pairs |= measure.compare(mine, theirs, own)
            others |= measure.compare(mine, theirs, self.partners)
            if isinstance(measure, Faces):
                correlation |= measure.correlation(mine, theirs)
        return Seen(pairs, others, correlation)

    def per_pair(self, seen: Seen) -> dict[str, PerPair]:
        """Every measure of a cell, one number per pair; NaN where there is nothing to measure (no face)."""
        return dict(seen.pairs)

    def means(self, seen: Seen) -> dict[str, float]:
        """Mean of every measure over the pairs that have it; NaN if none has."""
        return {measure: _mean(values) for measure, values in seen.pairs.items()}

    def shuffled(self, seen: Seen) -> dict[str, float]:
        """The floor: the same means with every drawing beside a source face that is not its own."""
        return {measure: _mean(values) for measure, values in seen.others.items()}

    def scores(self, seen: Seen) -> dict[str, float]:
        """Means, 95 % intervals, and lifts over this cell's own shuffled floor.

        Returns: by name: ``cos[EXT]``, ``cos_low[EXT]``, ``cos_high[EXT]``, ``cos_lift[EXT]`` (see :func:`named`), for
            every measure (no lift of face_detect_rate); with a reader of faces ``attribute_corr`` and
            ``corr_<attribute>``. A lift is 0 at the floor and 1 for a perfect copy; NaN where the floor is perfect
            already.
        """
        scores: dict[str, float] = {}
        for measure, mean in self.means(seen).items():
            scores[measure] = mean
            there = seen.pairs[measure][np.isfinite(seen.pairs[measure])]
            interval = mean_interval(there, self.seed) if len(there) > 1 else None
            scores[named(measure, "low")] = interval.low if interval else float("nan")
            scores[named(measure, "high")] = interval.high if interval else float("nan")
            perfect = PERFECT.get(parse(measure).family)
            if perfect is not None:
                floor = _mean(seen.others[measure])
                scores[named(measure, "lift")] = lift(mean, floor, perfect) if floor != perfect else float("nan")
        if seen.correlation:
            scores["attribute_corr"] = float(np.mean(list(seen.correlation.values())))
        return scores | {f"corr_{attribute}": value for attribute, value in seen.correlation.items()}


def named(measure: str, suffix: str) -> str:
    """Return the name of a measure's statistic or variant: ``named("cos[EXT]", "lift")`` -> ``cos_lift[EXT]``."""
    family, bracket, extractor = measure.partition("[")
    return f"{family}_{suffix}{bracket}{extractor}"


def own_names(scores: Mapping[str, float]) -> dict[str, float]:
    """Rename the result of :meth:`SourceSide.scores` for pairs where every model used its own mapping network.

    The variant comes before the statistic: ``cos_own[EXT]``, ``cos_own_lift[EXT]``.
    """
    renamed = {}
    for name, value in scores.items():
        family, bracket, extractor = name.partition("[")
        stem, _, last = family.rpartition("_")
        if stem and last in STATISTICS:
            renamed[f"{stem}_own_{last}{bracket}{extractor}"] = value
        else:
            renamed[named(name, "own")] = value
    return renamed


def worst(measure: str, values: Floats, count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` pairs farthest from a perfect copy, worst first (equals by index); NaN last.

    Raises: ValueError for a measure of which nobody knows what is perfect.
    """
    family = parse(measure).family
    if family not in PERFECT:
        raise ValueError(f"{measure}: not known which value is perfect; known of {', '.join(PERFECT)}")
    order: NDArray[np.intp] = np.argsort(-np.abs(values - PERFECT[family]), kind="stable")[:count]
    return order


def _mean(values: PerPair) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")
