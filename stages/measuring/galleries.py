"""Pictures chosen by rule, never by hand: strips of tiles, the worst pairs, what is closest to training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.data.images import UInt8
from model.data.sheets import sheet
from model.metrics.extractors.base import Instrument
from model.metrics.extractors.catalogue import kind_of
from model.metrics.names import key
from model.metrics.pairs import worst
from stages.measuring.settings import TileParams

FAILURES = 8  # pairs on the sheet of the worst
NEAREST = 16  # generated images beside the training image that they are closest to
TILE = 128  # px, that tiles of sheets are enlarged to
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Headline:
    """The measure that says which pairs are the worst: of one cell, one number per pair."""

    measure: str  # key of the metric
    values: NDArray[np.float64]  # [n_pairs]

    def worst(self, count: int) -> Indices:
        """Return the indices of the worst pairs, worst first; pairs without a value are never among them."""
        order = worst(self.measure, self.values, count).astype(np.int64)
        return order[~np.isnan(self.values[order])]


@dataclass(frozen=True)
class Picks:
    """Which z are shown: the same ones for every cell."""

    first: Indices
    random: Indices
    worst: Indices
    headline: Headline

    @property
    def all(self) -> Indices:
        """All of them, in the order of the tiles."""
        return np.concatenate([self.first, self.random, self.worst])

    def as_json(self) -> dict[str, Any]:
        """Return what ``picks.json`` says."""
        indices = {name: getattr(self, name).tolist() for name in ("first", "random", "worst")}
        scores = self.headline.values[self.worst].tolist()
        return {**indices, "by": self.headline.measure, "psi": 1.0, "scores": scores}


def pick(tiles: TileParams, headline: Headline, seed: int) -> Picks:
    """Choose the first z, random ones of the others, and the worst of all."""
    count = len(headline.values)
    first = np.arange(min(tiles.first, count))
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, 1]))
    random = np.sort(rng.choice(np.arange(len(first), count), tiles.random, replace=False))
    return Picks(first, random, headline.worst(tiles.worst), headline)


def headline_of(likeness: Mapping[str, Instrument]) -> str:
    """Return the measure that says which pairs are the worst: that of the first network asked for.

    Identities do not rank pairs (a drawing without a face has none); without any network it is the likeness of edges.
    """
    for name, instrument in likeness.items():
        role = kind_of(name).role
        if role == "attributes":
            return "landmark_nme"
        if role in ("features", "patches", "distance"):
            return key("lpips" if role == "distance" else "cos", extractor=instrument.name)
    return "edge_ssim"


def strip(tiles: UInt8) -> UInt8:
    """Put square tiles ``[N, R, R, 3]`` side by side: ``[R, N * R, 3]``."""
    return np.concatenate(list(tiles), axis=1)


def failures(headline: Headline, indices: Sequence[int] | Indices, sources: UInt8, drawn: UInt8) -> UInt8:
    """Draw pairs, the source above the drawing, with the measure's value.

    Args:
        headline: of the values.
        indices: of the pairs.
        sources: their pictures by the source ``[N, R, R, 3]``.
        drawn: their pictures by the cell, in the same order.
    """
    title = f"the worst pairs by {headline.measure}"
    labels = [f"{headline.values[index]:.2f}" for index in indices]
    return sheet([list(sources), list(drawn)], ["source", "drawn"], labels, title, scale=_scale(drawn))


def nearest(distances: Sequence[float], generated: UInt8, training: UInt8, extractor: str) -> UInt8:
    """Draw generated images above the training image that each is closest to, with the distance."""
    rows: list[list[UInt8 | None]] = []
    captions: list[list[str]] = []
    half = (len(generated) + 1) // 2  # two bands, so that the sheet stays readable
    for start in range(0, len(generated), half):
        part = slice(start, start + half)
        rows += [list(generated[part]), list(training[part])]
        captions += [[], [f"{distance:.3g}" for distance in distances[part]]]
    title = f"generated images closest to a training image (below it), by {extractor}"
    labels = ["drawn", "training"] * (len(rows) // 2)
    return sheet(rows, labels, [], title, captions, scale=_scale(generated))


def _scale(images: UInt8) -> int:
    return max(1, TILE // int(images.shape[1]))
