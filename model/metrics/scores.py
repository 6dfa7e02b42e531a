"""The numbers of one cell of a comparison: likeness to the source (pairs) and fit to the target (distributions)."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from model.metrics.bootstrap import mean_interval
from model.metrics.features import AttributeReader, FaceReading, FeatureExtractor
from model.metrics.frechet import Features, frechet_distance
from model.metrics.kid import kid
from model.metrics.prdc import distances, prdc
from model.metrics.similarity import (
    Images,
    PerPair,
    attribute_correlation,
    attribute_mse,
    derangement,
    edge_ssim,
    landmark_nme,
    lift,
    lowres_mse,
)

LOWRES = (8, 16, 32)  # px; the structure loss optimises these, so they cannot rank it
PERFECT = {"landmark_nme": 0.0, "attribute_mse": 0.0, "edge_ssim": 1.0}
INTERVALS = ("landmark_nme", "attribute_mse", "edge_ssim")


class SourceSide:
    """The source's half of all pairs: read once, compared with every cell."""

    def __init__(self, images: Images, reader: AttributeReader, seed: int) -> None:
        """Read the source's images ``[N, H, W, 3]``; ``seed`` fixes the shuffled partners and the resamples."""
        self.images, self.reader, self.seed = images, reader, seed
        self.reading = reader(images)
        self.partners = derangement(len(images), seed)

    def per_pair(self, images: Images, reading: FaceReading | None = None) -> dict[str, PerPair]:
        """Every paired metric of ``images`` against the source's, one number per pair."""
        seen = reading or self.reader(images)
        sizes = [size for size in LOWRES if size <= images.shape[1]]
        return {
            "landmark_nme": landmark_nme(self.reading.points, seen.points, self.reader.eyes),
            "attribute_mse": attribute_mse(self.reading.attributes, seen.attributes),
            "edge_ssim": edge_ssim(self.images, images),
            **{f"lowres_mse_{size}": lowres_mse(self.images, images, size) for size in sizes},
        }

    def scores(self, images: Images) -> dict[str, float]:
        """Means over pairs, 95 % intervals, correlations, and lifts over this cell's own shuffled floor.

        Args:
            images: uint8 ``[N, H, W, 3]``, image i drawn from the same w as the source's image i.

        Returns: flat names and numbers: ``landmark_nme``, ``landmark_nme_low``, ``landmark_nme_lift``, ...; a lift is 0
            at the shuffled floor and 1 for a perfect copy.
        """
        seen = self.reader(images)
        pairs = self.per_pair(images, seen)
        shuffled = self.shuffled(images, seen)
        scores = {name: float(values.mean()) for name, values in pairs.items()}
        for name in INTERVALS:
            interval = mean_interval(pairs[name], self.seed)
            scores |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
            scores[f"{name}_lift"] = lift(scores[name], shuffled[name], PERFECT[name])
        correlation = attribute_correlation(self.reading.attributes, seen.attributes)
        scores["attribute_corr"] = float(correlation.mean())
        names = self.reader.attribute_names
        return scores | {f"corr_{name}": float(value) for name, value in zip(names, correlation, strict=True)}

    def shuffled(self, images: Images, reading: FaceReading | None = None) -> dict[str, float]:
        """The floor: the same metrics with every image beside a source image that is not its own."""
        seen = reading or self.reader(images)
        moved = FaceReading(seen.attributes[self.partners], seen.points[self.partners])
        return {name: float(values.mean()) for name, values in self.per_pair(images[self.partners], moved).items()}


class TargetSide:
    """The real images' half of all distribution metrics: features taken once, compared with every cell."""

    def __init__(self, train: Images, heldout: Images, extractor: FeatureExtractor, seed: int) -> None:
        """Take the features of real images ``[N, H, W, 3]``; ``seed`` fixes every subset."""
        self.extractor, self.seed = extractor, seed
        self.train: Features = extractor(train).astype(np.float64)
        self.heldout: Features = extractor(heldout).astype(np.float64)

    def scores(self, images: Images) -> dict[str, float]:
        """Distances of generated ``images`` to the real ones; every name carries the extractor's.

        ``nn_ratio`` well below 1 means that training images come back (0.4 fails, 0.7 alarms).
        """
        features: Features = self.extractor(images).astype(np.float64)
        kernel = kid(features, self.train)
        shares = asdict(prdc(self.train, features, self.seed))
        return self._named(
            {
                "fid": frechet_distance(features, self.train),
                "fid_heldout": frechet_distance(features, self.heldout),
                "kid_x1e3": 1e3 * kernel.value,
                "kid_x1e3_std": 1e3 * kernel.std,
                "nn_ratio": _nearest(features, self.train) / _nearest(self.heldout, self.train),
            }
        ) | {name: float(shares[name]) for name in ("precision", "recall", "density", "coverage", "coverage_expected")}

    def floor(self) -> dict[str, float]:
        """What the metrics say of two disjoint halves of the real images: no generator can be asked for less."""
        order = np.random.Generator(np.random.Philox(key=self.seed)).permutation(len(self.train))
        first, second = self.train[order[::2]], self.train[order[1::2]]
        kernel = kid(first, second)
        shares = asdict(prdc(first, second, self.seed))
        return self._named(
            {
                "fid": frechet_distance(first, second),
                "fid_heldout": frechet_distance(self.train, self.heldout),
                "kid_x1e3": 1e3 * kernel.value,
                "kid_x1e3_std": 1e3 * kernel.std,
            }
        ) | {name: float(shares[name]) for name in ("precision", "recall", "density", "coverage", "coverage_expected")}

    def _named(self, scores: dict[str, float]) -> dict[str, float]:
        return {f"{name}[{self.extractor.name}]": value for name, value in scores.items()}


def worst(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` largest values, largest first: which pairs a failure sheet shows."""
    order: NDArray[np.intp] = np.argsort(-np.asarray(values), kind="stable")[:count]
    return order


def _nearest(rows: Features, others: Features) -> float:
    return float(np.median(distances(rows, others).min(axis=1)))
