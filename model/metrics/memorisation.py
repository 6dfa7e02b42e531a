"""Does a generator give its training images back? One ratio of distances between features."""

from __future__ import annotations

import numpy as np

from model.metrics.frechet import Features
from model.metrics.prdc import distances


def nearest(rows: Features, others: Features) -> float:
    """Median over ``rows [N, d]`` of the distance to the nearest of ``others [M, d]``."""
    return float(np.median(distances(rows, others).min(axis=1)))


def nn_ratio(generated: Features, train: Features, heldout: Features) -> float:
    """How much closer to the training images generated ones are than real ones that no training saw.

    Args:
        generated: features of generated images, float64 ``[N, d]``.
        train: of the training images, ``[M, d]``.
        heldout: of real images held out, ``[K, d]``.

    Returns: 1 for new images of the same kind, 0 for copies; below 0.7 is suspect.
    Raises: ValueError if the held-out images themselves are copies of training images.
    """
    unseen = nearest(heldout, train)
    if unseen == 0.0:
        raise ValueError("held-out images are copies of training images, so nothing can be measured against them")
    return nearest(generated, train) / unseen
