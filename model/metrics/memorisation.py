"""Does a generator give its training images back? Distances from generated images to the nearest training image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.metrics.frechet import Features
from model.metrics.prdc import distances

BLOCK_ROWS = 2048  # rows of the distance matrix held at once: 2048 x 10k x 8 B = 160 MB
TENTH = 0.1  # the nearest tenth of each set
COPY_SHARE = 0.01  # of held-out images are as near to a training image as one that counts as a copy


def nearest(rows: Features, others: Features) -> float:
    """Median over ``rows [N, d]`` of the distance to the nearest of ``others [M, d]``."""
    return float(np.median(_nearest(rows, others)[0]))


def nn_ratio(generated: Features, train: Features, heldout: Features) -> float:
    """How much closer to the training images generated ones are than real ones that no training saw.

    Args:
        generated: features of generated images, float64 ``[N, d]``.
        train: of the training images, ``[M, d]``.
        heldout: of real images held out, ``[K, d]``.

    Returns: 1 for new images of the same kind, 0 for copies; below 0.7 is suspect. A median: who copies less than half
        of the time is told by :func:`nn_ratio_tenth`.
    Raises: ValueError if the held-out images themselves are copies of training images.
    """
    unseen = nearest(heldout, train)
    if unseen == 0.0:
        raise ValueError("held-out images are copies of training images, so nothing can be measured against them")
    return nearest(generated, train) / unseen


def nn_ratio_tenth(generated: Features, train: Features, heldout: Features) -> float:
    """The same ratio at the nearest tenth of either set instead of the median: sees a generator that copies at times.

    Args: as :func:`nn_ratio`.

    Returns: about 1 for new images of the same kind, near 0 once a tenth of the images are copies; NaN if so many
        held-out images are copies themselves.
    """
    unseen = float(np.quantile(_nearest(heldout, train)[0], TENTH))
    return float(np.quantile(_nearest(generated, train)[0], TENTH)) / unseen if unseen > 0.0 else float("nan")


def copy_rate(generated: Features, train: Features, heldout: Features) -> float:
    """Share of generated images nearer to a training image than 99 % of held-out images are.

    Args: as :func:`nn_ratio`.

    Returns: about 0.01 for new images of the same kind, 1 for copies. Evidence, not a verdict: with fewer than 100
        held-out images the limit is the nearest two's, and where distances hardly differ (many features), images a
        little tamer than real ones fall below it by half and more.
    """
    limit = np.quantile(_nearest(heldout, train)[0], COPY_SHARE)
    return float((_nearest(generated, train)[0] < limit).mean())


def closest(
    generated: Features, train: Features, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the generated images that are nearest to a training image: what a gallery of suspects shows.

    Args:
        generated: features ``[N, d]``.
        train: features ``[M, d]``.
        count: pairs wanted; at most ``N`` come back.

    Returns: indices of generated images, each once, nearest first (equals by index); index of the nearest training
        image of each; their distances.
    """
    apart, places = _nearest(generated, train)
    order = np.argsort(apart, kind="stable")[:count].astype(np.int64)
    return order, places[order], apart[order]


def _nearest(rows: Features, others: Features) -> tuple[Features, NDArray[np.int64]]:
    """Distance to the nearest of ``others``, and which one it is, for every row."""
    apart, places = [], []
    for start in range(0, len(rows), BLOCK_ROWS):
        block = distances(rows[start : start + BLOCK_ROWS], others)
        place = block.argmin(axis=1)
        places.append(place.astype(np.int64))
        apart.append(block[np.arange(len(block)), place])
    return np.concatenate(apart), np.concatenate(places)
