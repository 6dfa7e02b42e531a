"""How much generated images differ among themselves: variety, and distance within clusters around training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.metrics.extractors.base import PairDistance
from model.metrics.names import key
from model.metrics.prdc import distances

Floats = NDArray[np.float64]
Rows = NDArray[Any]  # [N, ...]: features, or pictures

NEAREST = 0.1  # share of its siblings that an image is compared with
CENTRES = 10  # clusters; Ojha et al. 2021 had ten training images
ASSIGNED = 1000  # generated images put into clusters, as there
MEMBERS = 50  # of a cluster that are compared with each other, as there
BATCH = 64  # pairs of pictures measured at once


class Ruler(Protocol):
    """Measures how far apart images are, given what it needs of each: features, or the pictures themselves."""

    @property
    def name(self) -> str:
        """Name of the instrument."""

    @property
    def most(self) -> int:
        """Images of a set whose mutual distances are affordable; of a larger one a fixed choice is taken."""

    @property
    def family(self) -> str:
        """What the distance within clusters is called by this ruler."""

    def between(self, rows: Rows, others: Rows) -> Floats:
        """Distances of ``[N, ...]`` to ``[M, ...]``: ``[N, M]``."""

    def among(self, rows: Rows) -> Floats:
        """Distances of ``[N, ...]`` to each other, ``[N, N]``: symmetric, zeros on the diagonal."""


def feature_ruler(name: str) -> Ruler:
    """Euclidean distance between features ``[N, d]`` of the extractor called ``name``."""
    return _Features(name, most=2000, family="intra_distance")  # a matrix of 32 MB


def picture_ruler(distance: PairDistance) -> Ruler:
    """Perceptual distance (LPIPS) between pictures, uint8 ``[N, H, W, 3]``."""
    return _Pictures(distance, most=100, family="intra_lpips")  # 4,950 pairs


@dataclass(frozen=True)
class _Features:
    name: str
    most: int
    family: str

    def between(self, rows: Rows, others: Rows) -> Floats:
        return distances(np.asarray(rows, dtype=np.float64), np.asarray(others, dtype=np.float64))

    def among(self, rows: Rows) -> Floats:
        apart = self.between(rows, rows)
        np.fill_diagonal(apart, 0.0)
        return apart


@dataclass(frozen=True)
class _Pictures:
    distance: PairDistance
    most: int
    family: str

    @property
    def name(self) -> str:
        return self.distance.name

    def between(self, rows: Rows, others: Rows) -> Floats:
        i, j = (side.ravel() for side in np.indices((len(rows), len(others))))
        return self._pairs(rows, others, i, j).reshape(len(rows), len(others))

    def among(self, rows: Rows) -> Floats:
        i, j = np.triu_indices(len(rows), k=1)
        apart = np.zeros((len(rows), len(rows)))
        apart[i, j] = apart[j, i] = self._pairs(rows, rows, i, j)
        return apart

    def _pairs(self, rows: Rows, others: Rows, i: NDArray[np.intp], j: NDArray[np.intp]) -> Floats:
        apart = np.empty(len(i))
        for start in range(0, len(i), BATCH):
            part = slice(start, start + BATCH)
            apart[part] = self.distance(rows[i[part]], others[j[part]])
        return apart


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
            seed: of the choice of ``ruler.most`` among more training images.
        """
        self.ruler = ruler
        chosen = train[chosen_rows(len(train), ruler.most, seed)]
        apart = ruler.among(chosen)
        self.spread = spread(apart)
        if self.spread == 0.0:
            raise ValueError(f"{ruler.name}: the training images are all the same, so no variety can be measured")
        self.centres: Rows = chosen[k_medoids(apart, min(CENTRES, len(chosen)))]

    def variety(self, generated: Rows) -> float:
        """Spread of generated images over that of training images.

        Args:
            generated: features ``[N, d]`` or pictures ``[N, H, W, 3]`` in the order of z, N >= 2; of more than
                ``ruler.most`` the first are taken.

        Returns: 1 for as much variety as the training images have, 0 for one picture all over; see :func:`spread`.
        """
        return spread(self.ruler.among(generated[: self.ruler.most])) / self.spread

    def intra(self, generated: Rows) -> Intra:
        """Mean distance within clusters: generated images go to the nearest centre (a training image).

        Args:
            generated: as for :meth:`variety`; the first 1,000 are assigned, and the first 50 of a cluster compared.

        Returns: the mean over clusters of the mean pairwise distance; no value if a cluster has fewer than two images,
            because leaving it out would reward missing it.
        Source: Ojha et al. 2021 (intra-cluster LPIPS); beyond ten training images, medoids stand for them.
        """
        images = generated[:ASSIGNED]
        owner = self.ruler.between(images, self.centres).argmin(axis=1)
        clusters = [images[owner == centre][:MEMBERS] for centre in range(len(self.centres))]
        empty = sum(len(cluster) < 2 for cluster in clusters)
        if empty:
            reason = f"{empty} of {len(clusters)} clusters have fewer than two of {len(images)} generated images"
            return Intra(None, len(clusters), empty, reason)
        within = [float(_above(self.ruler.among(cluster)).mean()) for cluster in clusters]
        return Intra(float(np.mean(within)), len(clusters), 0, "")

    def scores(self, generated: Rows) -> tuple[dict[str, float | None], dict[str, str]]:
        """Everything by name.

        Returns: ``variety[NAME]``, ``intra_distance[NAME]`` (``intra_lpips[NAME]`` for pictures; None if a cluster is
            empty) and ``intra_empty[NAME]``; and, by name, the reason of what is None.
        """
        intra, name = self.intra(generated), self.ruler.name
        within = key(self.ruler.family, None, name)
        scores = {
            key("variety", None, name): self.variety(generated),
            within: intra.value,
            key("intra_empty", None, name): float(intra.empty),
        }
        return scores, {within: intra.reason} if intra.reason else {}


def spread(apart: Floats) -> float:
    """Mean distance of an image to the nearest tenth of its siblings.

    Not to all of them: ten faces drawn over and over are, on average over all pairs, nearly as far apart as a thousand
    different ones. A share, not a number, of siblings: sets of different size are comparable.

    Args:
        apart: distances ``[N, N]`` of a set to itself, N >= 2, zeros on the diagonal.

    Raises: ValueError for fewer than two images.
    """
    n = len(apart)
    if n < 2:
        raise ValueError(f"{n} image(s): variety needs at least 2")
    count = max(1, round(NEAREST * (n - 1)))
    # Each image's distance 0 to itself comes first, so it adds nothing to the sum.
    return float(np.partition(apart, count, axis=1)[:, : count + 1].sum() / (n * count))


def k_medoids(apart: Floats, k: int) -> NDArray[np.int64]:
    """Return the ``k`` images that the others are nearest to, from distances ``[N, N]``; nothing in it is random.

    Greedy choice, then each centre moves to the middle of its cluster until none moves (equals by index).

    Source: Kaufman and Rousseeuw 1990 (PAM, BUILD); Park and Jun 2009 for the moves.
    """
    centres: list[int] = []
    nearest = np.full(len(apart), np.inf)
    for _ in range(k):
        costs = np.minimum(nearest[:, None], apart).sum(axis=0)
        costs[centres] = np.inf
        centres.append(int(costs.argmin()))
        nearest = np.minimum(nearest, apart[:, centres[-1]])
    while True:
        owner = apart[:, centres].argmin(axis=1)
        moved = []
        for place, centre in enumerate(centres):
            members = np.flatnonzero(owner == place)
            inside = apart[np.ix_(members, members)].sum(axis=0)
            best = int(members[inside.argmin()]) if len(members) else centre
            gain = len(members) and inside.min() < apart[centre, members].sum()
            moved.append(best if gain else centre)
        if moved == centres:
            return np.array(centres, dtype=np.int64)
        centres = moved


def chosen_rows(count: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return all of ``count`` indices, or a fixed random choice of ``most`` of them, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.Generator(np.random.Philox(key=seed)).choice(count, most, replace=False))


def _above(apart: Floats) -> Floats:
    above: Floats = apart[np.triu_indices(len(apart), k=1)]
    return above
