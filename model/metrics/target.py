"""How well drawings fit the target style: every distance between two sets of features, by their full names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from model.metrics.frechet import Features, Gaussian, Values, checked_features, frechet_between
from model.metrics.kid import kid, kid_subset
from model.metrics.memorisation import copy_rate, nn_ratio, nn_ratio_tenth
from model.metrics.names import key
from model.metrics.prdc import prdc

SHARES = ("precision", "recall", "density", "coverage", "coverage_expected")


class TargetSide:
    """The real images' half of all distribution metrics, by one extractor: compared with every cell."""

    def __init__(self, name: str, train: Values, heldout: Values, seed: int) -> None:
        """Hold the features of real images.

        Args:
            name: of the extractor, which every metric's name carries.
            train: features of the images trained on, ``[N, d]``, N >= 12.
            heldout: of those held out, ``[K, d]``, K >= 2.
            seed: of subsets and of the two halves of :meth:`floor`.

        Raises: ValueError for broken features (see :func:`model.metrics.frechet.checked_features`).
        """
        self.name, self.seed = name, seed
        self.train: Features = checked_features(f"{name}: training images", train)
        self.heldout: Features = checked_features(f"{name}: held-out images", heldout)
        self._near, self._far = Gaussian.fit(self.train), Gaussian.fit(self.heldout)

    def scores(self, features: Values, n: int) -> dict[str, float]:
        """Measure a cell's images against the real ones.

        Args:
            features: of generated images by the same extractor, ``[n, d]``.
            n: how many they are, as the metrics' names say.

        Returns: by name (``fid1k[stylenet-0123abcd]``): fid, fid_heldout, fid_gap (held-out minus training: grows
            with copying, and with n_train / n_heldout alone, so compare it with that of :meth:`floor`), kid_x1e3,
            kid_x1e3_std, kid_heldout_x1e3, kid_subset_x1e3 (only where both sides have more images than a subset),
            precision, recall, density, coverage, coverage_expected, nn_ratio, nn_ratio_tenth (NaN
            where it cannot be measured), copy_rate.
        Raises: ValueError if ``n`` is not their number, or for broken features.
        """
        generated = checked_features(f"{self.name}: generated images", features)
        if len(generated) != n:
            raise ValueError(f"{self.name}: {len(generated)} generated images, but their metrics would say {n}")
        fitted = Gaussian.fit(generated)
        near, far = frechet_between(fitted, self._near), frechet_between(fitted, self._far)
        found = {
            **self._kernel(generated, self.train),
            "fid": near,
            "fid_heldout": far,
            "fid_gap": far - near,
            "kid_heldout_x1e3": 1e3 * kid(generated, self.heldout).value,
            "nn_ratio": nn_ratio(generated, self.train, self.heldout),
            "nn_ratio_tenth": nn_ratio_tenth(generated, self.train, self.heldout),
            "copy_rate": copy_rate(generated, self.train, self.heldout),
            **self._shares(self.train, generated),
        }
        return self._named(found, n)

    def blocks(self, features: Values, count: int) -> dict[str, NDArray[np.float64]]:
        """FID and KID to the training images on ``count`` disjoint blocks of z: what another draw of z would change.

        Args:
            features: of generated images, ``[n, d]``, in the order of z; the last ``n % count`` are left out.
            count: blocks, each of ``n // count`` images.

        Returns: ``fid`` and ``kid_x1e3``, one number per block ``[count]``, under the names of the whole set's metrics
            (their spread is comparable; FIDs themselves are larger on fewer images).
        Raises: ValueError for fewer than two images per block.
        """
        generated = checked_features(f"{self.name}: generated images", features)
        size = len(generated) // count
        if size < 2:
            raise ValueError(f"{self.name}: {len(generated)} images in {count} blocks, expected at least 2 in each")
        parts = [generated[start : start + size] for start in range(0, size * count, size)]
        found = {
            "fid": np.array([frechet_between(Gaussian.fit(part), self._near) for part in parts]),
            "kid_x1e3": np.array([1e3 * kid(part, self.train).value for part in parts]),
        }
        return {key(family, len(generated), self.name): values for family, values in found.items()}

    def floor(self, n: int) -> dict[str, float]:
        """What the metrics say of real images against real images: no generator can be asked for less.

        Args:
            n: of generated images in the cells' names, so that a table's columns line up.

        Returns: two disjoint halves of the training images under ``fid``, ``kid_x1e3``, ... and the shares; training
            against held-out images under ``fid_heldout`` and ``kid_heldout_x1e3``; under ``fid_gap``, one half in the
            generator's place; and the counts behind them: ``n_half``, ``n_other_half``, ``n_real``, ``n_heldout``.
        """
        order = np.random.Generator(np.random.Philox(key=self.seed)).permutation(len(self.train))
        half, other = self.train[order[::2]], self.train[order[1::2]]
        fitted = Gaussian.fit(half)
        near, far = frechet_between(fitted, Gaussian.fit(other)), frechet_between(fitted, self._far)
        found = {
            **self._kernel(half, other),
            "fid": near,
            "fid_heldout": frechet_between(self._near, self._far),
            "fid_gap": far - near,
            "kid_heldout_x1e3": 1e3 * kid(self.train, self.heldout).value,
            **self._shares(half, other),
        }
        counts = {"half": len(half), "other_half": len(other), "real": len(self.train), "heldout": len(self.heldout)}
        return self._named(found, n) | {f"n_{name}": float(count) for name, count in counts.items()}

    def _kernel(self, generated: Features, real: Features) -> dict[str, float]:
        whole, subset = kid(generated, real), kid_subset(generated, real, self.seed)
        found = {"kid_x1e3": 1e3 * whole.value, "kid_x1e3_std": 1e3 * whole.std}
        return found if subset is None else found | {"kid_subset_x1e3": 1e3 * subset.value}

    def _shares(self, real: Features, generated: Features) -> dict[str, float]:
        shares = asdict(prdc(real, generated, self.seed))
        return {name: float(shares[name]) for name in SHARES}

    def _named(self, found: Mapping[str, float], n: int) -> dict[str, float]:
        return {key(family, n, self.name): value for family, value in found.items()}
