"""The numbers of one cell of a comparison: likeness to the source (pairs) and fit to the target (distributions)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.metrics.bootstrap import mean_interval
from model.metrics.features import AttributeReader, FaceReading, FeatureExtractor
from model.metrics.frechet import Features, frechet_distance
from model.metrics.kid import kid
from model.metrics.memorisation import nn_ratio
from model.metrics.prdc import prdc
from model.metrics.similarity import (
    Images,
    PerPair,
    attribute_correlation,
    attribute_mse,
    derangement,
    edges,
    landmark_nme,
    lift,
    lowres_mse,
    ssim,
)

LOWRES = (8, 16, 32)  # px; the structure loss optimises these, so they cannot rank it
PERFECT = {"landmark_nme": 0.0, "attribute_mse": 0.0, "edge_ssim": 1.0}


@dataclass(frozen=True)
class Seen:
    """Everything paired metrics need of a set of images, computed once."""

    images: Images  # [N, H, W, 3]
    reading: FaceReading
    edges: Tensor  # [N, 1, H, W]

    def of(self, order: NDArray[np.int64]) -> Seen:
        """The same images in another order."""
        reading = FaceReading(self.reading.attributes[order], self.reading.points[order])
        return Seen(self.images[order], reading, self.edges[torch.from_numpy(order)])


class SourceSide:
    """The source's half of all pairs: read once, compared with every cell.

    Image i of a cell belongs to image i of the source: drawn from the same w.
    """

    def __init__(self, images: Images, reader: AttributeReader, seed: int) -> None:
        """Read the source's images ``[N, H, W, 3]``; ``seed`` fixes the shuffled partners and the resamples."""
        self.reader, self.seed = reader, seed
        self.seen = self.see(images)
        self.partners = derangement(len(images), seed)

    def see(self, images: Images) -> Seen:
        """Read the images of a cell, uint8 ``[N, H, W, 3]``."""
        return Seen(images, self.reader(images), edges(images))

    def per_pair(self, cell: Seen) -> dict[str, PerPair]:
        """Every paired metric of a cell, one number per pair."""
        mine, theirs = self.seen.reading, cell.reading
        sizes = [size for size in LOWRES if size <= cell.images.shape[1]]
        return {
            "landmark_nme": landmark_nme(mine.points, theirs.points, self.reader.eyes),
            "attribute_mse": attribute_mse(mine.attributes, theirs.attributes),
            "edge_ssim": ssim(self.seen.edges, cell.edges),
            **{f"lowres_mse_{size}": lowres_mse(self.seen.images, cell.images, size) for size in sizes},
        }

    def means(self, cell: Seen) -> dict[str, float]:
        """Mean of every paired metric."""
        return {name: float(values.mean()) for name, values in self.per_pair(cell).items()}

    def shuffled(self, cell: Seen) -> dict[str, float]:
        """The floor: the same metrics with every image beside a source image that is not its own."""
        return self.means(cell.of(self.partners))

    def scores(self, cell: Seen) -> dict[str, float]:
        """Means over pairs, 95 % intervals, correlations, and lifts over this cell's own shuffled floor.

        Returns: flat names and numbers: ``landmark_nme``, ``landmark_nme_low``, ``landmark_nme_lift``, ...; a lift is 0
            at the shuffled floor and 1 for a perfect copy.
        """
        pairs, floor = self.per_pair(cell), self.shuffled(cell)
        scores = {name: float(values.mean()) for name, values in pairs.items()}
        for name, perfect in PERFECT.items():
            interval = mean_interval(pairs[name], self.seed)
            scores |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
            scores[f"{name}_lift"] = lift(scores[name], floor[name], perfect)
        correlation = attribute_correlation(self.seen.reading.attributes, cell.reading.attributes)
        scores["attribute_corr"] = float(correlation.mean())
        names = self.reader.attribute_names
        return scores | {f"corr_{name}": float(value) for name, value in zip(names, correlation, strict=True)}


class TargetSide:
    """The real images' half of all distribution metrics: features taken once, compared with every cell."""

    def __init__(self, train: Images, heldout: Images, extractor: FeatureExtractor, seed: int) -> None:
        """Take the features of real images ``[N, H, W, 3]``; ``seed`` fixes every subset."""
        self.extractor, self.seed = extractor, seed
        self.train: Features = extractor(train).astype(np.float64)
        self.heldout: Features = extractor(heldout).astype(np.float64)

    def scores(self, generated: NDArray[np.floating]) -> dict[str, float]:
        """Distances to the real images; every name carries the extractor's.

        Args:
            generated: features of generated images by the same extractor, ``[M, d]``.

        Returns: flat names and numbers. ``nn_ratio`` well below 1 means that training images come back (below 0.7
            alarms, below 0.4 fails).
        """
        features = np.asarray(generated, dtype=np.float64)
        kernel = kid(features, self.train)
        shares = asdict(prdc(self.train, features, self.seed))
        return self._named(
            {
                "fid": frechet_distance(features, self.train),
                "fid_heldout": frechet_distance(features, self.heldout),
                "kid_x1e3": 1e3 * kernel.value,
                "kid_x1e3_std": 1e3 * kernel.std,
                "nn_ratio": nn_ratio(features, self.train, self.heldout),
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
