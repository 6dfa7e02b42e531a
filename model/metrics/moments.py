"""Count, mean and covariance of features that come in batches: all a Frechet distance needs, in memory O(d^2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.metrics.frechet import Features, Values

PILOT = 512  # features whose mean everything is centred on; also the rows added at once


@dataclass(frozen=True)
class Moments:
    """First and second moments of a set of features."""

    count: int
    mean: Features  # [d]
    scatter: Features  # [d, d]: sum over features of (x - mean) (x - mean)^T

    @property
    def covariance(self) -> Features:
        """``[d, d]``, divided by N - 1. Raises: ValueError for fewer than two features."""
        if self.count < 2:
            raise ValueError(f"moments of {self.count} image(s) have no covariance; at least 2 are needed")
        return self.scatter / (self.count - 1)

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets together; which of the two comes first changes them by 1e-12 of their size at most.

        Raises: ValueError if the two disagree about ``d``.
        Source: Chan, Golub, LeVeque 1983, equation 2.1b for matrices.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and of {len(other.mean)} features cannot be merged")
        count = self.count + other.count
        if count == 0:
            return self
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(count, self.mean + shift * (other.count / count), scatter)


class MomentStream:
    """Sums that grow batch by batch, in float64, centred on the mean of the first 512 features.

    Without the centring, features far from 0 lose their covariance to cancellation (offset 1e4: 4e-7 of it, with it
    1e-14). Features are added in blocks of 512 whatever the batches: batch sizes 1, 7 and 64 give the same bits.
    """

    def __init__(self, features: int) -> None:
        """Begin with nothing; ``features`` is ``d``, the length of one feature vector."""
        self.d = features
        self._waiting: list[Features] = []  # fewer than PILOT rows
        self._pilot: Features | None = None  # [d]
        self._count = 0
        self._sum = np.zeros(features)
        self._square = np.zeros((features, features))

    def add(self, batch: Values) -> None:
        """Take in features ``[N, d]`` of any real type, N >= 0.

        Raises: ValueError for another shape, or a number that is not finite (the message counts from the first image).
        """
        rows = np.array(batch, dtype=np.float64)  # a copy: it may wait here while the caller reuses the batch
        if rows.ndim != 2 or rows.shape[1] != self.d:
            raise ValueError(f"a batch of features has shape {rows.shape}, expected [N, {self.d}]")
        seen = self._count + sum(map(len, self._waiting))
        broken = ~np.isfinite(rows).all(axis=1)
        if broken.any():
            raise ValueError(f"features of image {seen + int(broken.argmax())} are not finite")
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) < PILOT:
            return
        rows = np.concatenate(self._waiting)
        whole = len(rows) // PILOT * PILOT
        for at in range(0, whole, PILOT):
            self._pilot, self._sum, self._square = self._with(rows[at : at + PILOT])
            self._count += PILOT
        self._waiting = [rows[whole:]]

    def moments(self) -> Moments:
        """Moments of all features so far; more may be added afterwards."""
        rest = np.concatenate([np.zeros((0, self.d)), *self._waiting])
        count = self._count + len(rest)
        if count == 0:
            return Moments(0, np.zeros(self.d), np.zeros((self.d, self.d)))
        pilot, total, square = self._with(rest)
        return Moments(count, pilot + total / count, square - np.outer(total, total) / count)

    def _with(self, rows: Features) -> tuple[Features, Features, Features]:
        """Pilot mean and sums once ``rows`` are added."""
        pilot = rows.mean(axis=0) if self._pilot is None else self._pilot
        centred = rows - pilot
        return pilot, self._sum + centred.sum(axis=0), self._square + centred.T @ centred


def moments_of(features: Values) -> Moments:
    """Return the moments of features ``[N, d]`` of any real type (errors as :meth:`MomentStream.add`)."""
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features have shape {features.shape}, expected [N, d]")
    stream = MomentStream(features.shape[1])
    for at in range(0, len(features), PILOT):
        stream.add(features[at : at + PILOT])
    return stream.moments()
