"""Feature sets of random shapes, sound and degenerate, the same for every metric and library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from _pytest.mark import ParameterSet

PER_KIND = 20
QUICK = 5  # of them in the quick tier


@dataclass(frozen=True)
class Case:
    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind.replace(' ', '_')}-{self.seed}"

    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """Two sets of features ``[N, d]`` and ``[M, d]``, of total variance about 1 each."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, KINDS.index(self.kind)]))
        n, m, d = self._shape(rng)
        spectrum = 1.0 / np.arange(1, d + 1)
        spectrum *= 1.0 / spectrum.sum()
        mixing = np.linalg.qr(rng.standard_normal((d, d)))[0]
        x = rng.standard_normal((n, d)) * np.sqrt(spectrum)
        y = rng.standard_normal((m, d)) * np.sqrt(rng.permutation(spectrum)) * 1.1 + rng.normal(0.0, 0.2, d)
        return self._damaged(x @ mixing, y @ mixing)

    def _shape(self, rng: np.random.Generator) -> tuple[int, int, int]:
        d = int(rng.integers(2, 49))
        large = [int(size) for size in rng.integers(3 * d + 10, 3 * d + 120, 2)]
        small = [int(size) for size in rng.integers(6, max(d, 7), 2)]
        return {
            "n below d": (small[0], large[1], max(d, small[0] + 1)),
            "both below d": (*small, max(d, *(size + 1 for size in small))),
            "two images": (2, large[1], d),
            "n = m = d": (d, d, d),
            "one feature": (*large, 1),
        }.get(self.kind, (*large, d))  # type: ignore[return-value]

    def _damaged(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.kind == "duplicates":
            x[len(x) // 2 :] = x[: len(x) - len(x) // 2]
            y[: len(y) // 3] = x[0]
        elif self.kind == "constant columns":
            x[:, 0], y[:, 0] = 0.5, 0.5
            x[:, -1] = 0.0
        elif self.kind == "far from zero":
            x, y = x + 1e4, y + 1e4
        elif self.kind == "single precision":
            x, y = x.astype(np.float32), y.astype(np.float32)
        elif self.kind == "copies":
            y[: len(x)] = x[: len(y)]
        return x, y


FULL_RANK = ("plain", "far from zero", "single precision", "one feature", "copies")
DEFICIENT = ("n below d", "both below d", "two images", "n = m = d", "duplicates", "constant columns")
KINDS = (*FULL_RANK, *DEFICIENT)
CASES = [Case(kind, seed) for kind in KINDS for seed in range(PER_KIND)]


def of_kinds(*kinds: str) -> list[Case]:
    return [case for case in CASES if case.kind in kinds]


def spread(cases: Sequence[Case]) -> list[ParameterSet]:
    """Return the cases as parameters of a test, all but the first few of each kind marked as slow."""
    return [pytest.param(case, id=str(case), marks=[pytest.mark.slow] if case.seed >= QUICK else []) for case in cases]
