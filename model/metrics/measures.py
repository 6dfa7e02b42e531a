"""What each instrument says of pairs of pictures: taken from either set once, compared in any order."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from model.metrics.extractors.base import (
    FeatureExtractor,
    IdentityReader,
    Images,
    Instrument,
    PairDistance,
    PatchExtractor,
)
from model.metrics.features import FaceReading
from model.metrics.names import key
from model.metrics.similarity import (
    BATCH,
    Floats,
    PerPair,
    attribute_correlation,
    attribute_mse,
    cosine,
    edge_ssim,
    landmark_nme,
    lowres_rgb_mse,
    retrieval_top1,
    self_similarity,
    selfsim,
)

LOWRES = (8, 16, 32)  # px; the structure loss optimises these, so they cannot rank it
Order = NDArray[np.int64]  # which drawing stands beside source i


@runtime_checkable
class FaceReader(Instrument, Protocol):
    """An instrument that reads attributes and landmarks off a face."""

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Names of the attributes, in their order."""

    @property
    def eyes(self) -> tuple[int, int]:
        """Rows of the two eye centres among the landmarks."""

    def read(self, images: Images) -> FaceReading:
        """Uint8 ``[N, H, W, 3]`` -> what is on them."""


class Measure(Protocol):
    """One instrument's part: what it takes from each set of pictures, and what it says of pairs."""

    def look(self, images: Images) -> Any:
        """Take what is needed of the pictures."""

    def compare(self, source: Any, cell: Any, order: Order) -> dict[str, PerPair]:
        """Measure source i beside drawing ``order[i]``."""


@dataclass(frozen=True)
class _Pixels:
    """Measures that need the pictures themselves, a batch at a time."""

    distances: Sequence[PairDistance]

    def look(self, images: Images) -> Images:
        return images

    def compare(self, source: Images, cell: Images, order: Order) -> dict[str, PerPair]:
        parts: dict[str, list[PerPair]] = {}
        for start in range(0, len(source), BATCH):
            a, b = source[start : start + BATCH], cell[order[start : start + BATCH]]
            for name, values in self._batch(a, b).items():
                parts.setdefault(name, []).append(np.asarray(values, dtype=np.float64))
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _batch(self, a: Images, b: Images) -> dict[str, PerPair]:
        sizes = [size for size in LOWRES if size <= a.shape[1]]
        return {
            "edge_ssim": edge_ssim(a, b),
            **{f"lowres_rgb_mse_{size}": lowres_rgb_mse(a, b, size) for size in sizes},
            **{key("lpips", None, distance.name): distance(a, b) for distance in self.distances},
        }


@dataclass(frozen=True)
class Faces:
    """Landmarks and attributes read off both faces."""

    reader: FaceReader

    def look(self, images: Images) -> FaceReading:
        """Read the faces."""
        return self.reader.read(images)

    def compare(self, source: FaceReading, cell: FaceReading, order: Order) -> dict[str, PerPair]:
        """Compare landmarks and attributes."""
        return {
            "landmark_nme": landmark_nme(source.points, cell.points[order], self.reader.eyes),
            "attribute_mse": attribute_mse(source.attributes, cell.attributes[order]),
        }

    def correlation(self, source: FaceReading, cell: FaceReading) -> dict[str, float]:
        """Correlate each attribute over all pairs."""
        values = attribute_correlation(source.attributes, cell.attributes)
        return {name: float(value) for name, value in zip(self.reader.attribute_names, values, strict=True)}


@dataclass(frozen=True)
class _Features:
    extractor: FeatureExtractor

    def look(self, images: Images) -> NDArray[np.float32]:
        return self.extractor(images)

    def compare(self, source: Floats, cell: Floats, order: Order) -> dict[str, PerPair]:
        beside = cell[order]
        return {
            key("cos", None, self.extractor.name): cosine(source, beside),
            key("retrieval_top1", None, self.extractor.name): retrieval_top1(source, beside),
        }


@dataclass(frozen=True)
class _Patches:
    extractor: PatchExtractor

    def look(self, images: Images) -> NDArray[np.float32]:
        starts = range(0, len(images), BATCH)  # patches are large; what is kept of them is not
        return np.concatenate([self_similarity(self.extractor.patches(images[i : i + BATCH])) for i in starts])

    def compare(self, source: NDArray[np.float32], cell: NDArray[np.float32], order: Order) -> dict[str, PerPair]:
        starts = range(0, len(source), BATCH)
        parts = [selfsim(source[i : i + BATCH], cell[order[i : i + BATCH]]) for i in starts]
        return {key("selfsim", None, self.extractor.name): np.concatenate(parts)}


@dataclass(frozen=True)
class _Identity:
    reader: IdentityReader

    def look(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return self.reader(images)

    def compare(self, source: Any, cell: Any, order: Order) -> dict[str, PerPair]:
        both = source[1] & cell[1][order]
        cosines = np.where(both, cosine(source[0], cell[0][order]), np.nan)
        return {
            key("arcface_cos", None, self.reader.name): cosines,
            key("face_detect_rate", None, self.reader.name): both.astype(np.float64),
        }


def measures_of(instruments: Sequence[Instrument]) -> list[Measure]:
    """Return what the instruments measure of pairs; edges and low-resolution colours are always among it."""
    distances: list[PairDistance] = []
    measures: list[Measure] = []
    for one in instruments:
        if isinstance(one, FaceReader):
            measures.append(Faces(one))
        if isinstance(one, FeatureExtractor):
            measures.append(_Features(one))
        if isinstance(one, PatchExtractor):
            measures.append(_Patches(one))
        if isinstance(one, FaceReader | FeatureExtractor):
            continue
        # The two protocols left have the same members: they differ in how many sets of pictures they take.
        if len(inspect.signature(cast("Any", one).__call__).parameters) == 2:
            distances.append(cast("PairDistance", one))
        else:
            measures.append(_Identity(cast("IdentityReader", one)))
    return [_Pixels(distances), *measures]
