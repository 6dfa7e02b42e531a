"""Our precision, recall, density and coverage against torch-fidelity and against the formulae, written plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch_fidelity.metric_prc import calculate_precision_recall_full

from model.metrics.prdc import density_coverage, precision_recall
from tests.metrics.parity.cases import CASES, Case, of_kinds, spread

# Where no distance ties with a radius: the oracle's distances of copies are off by 1e-8 and fall on either side.
SOUND = ("plain", "single precision", "one feature", "n below d", "both below d", "n = m = d", "constant columns")


def radii(side: np.ndarray, k: int) -> np.ndarray:
    return np.sort(cdist(side, side), axis=1)[:, k]


def plain_precision_recall(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float]:
    between = cdist(real, generated)
    precision = np.mean([any(between[:, j] <= radii(real, k)) for j in range(len(generated))])
    recall = np.mean([any(between[i] <= radii(generated, k)) for i in range(len(real))])
    return float(precision), float(recall)


def plain_density_coverage(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float]:
    between, own = cdist(real, generated), radii(real, k)
    density = sum(sum(between[:, j] <= own) for j in range(len(generated))) / (k * len(generated))
    coverage = np.mean([any(between[i] <= own[i]) for i in range(len(real))])
    return float(density), float(coverage)


def small(case: Case) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(side, dtype=np.float64)[:60] for side in case.sides())
    return x, y


@pytest.mark.parametrize("case", spread(of_kinds(*SOUND)))
def test_precision_and_recall_equal_torch_fidelity(case: Case) -> None:
    real, generated = (np.asarray(side, dtype=np.float64) for side in case.sides())
    k = min(3, len(real) - 1, len(generated) - 1)
    theirs = calculate_precision_recall_full(torch.from_numpy(generated), torch.from_numpy(real), k)
    assert precision_recall(real, generated, k) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("case", spread(CASES))
def test_all_four_equal_the_formulae_copies_and_duplicates_included(case: Case) -> None:
    real, generated = small(case)
    k = min(3, len(real) - 1, len(generated) - 1)
    assert precision_recall(real, generated, k) == plain_precision_recall(real, generated, k)
    k = min(5, len(real) - 1)
    assert density_coverage(real, generated, k) == pytest.approx(plain_density_coverage(real, generated, k), rel=1e-12)


@pytest.mark.parametrize(
    ("real", "generated", "k", "density", "coverage"),
    [
        ([0, 1, 3], [0.5], 1, 2 / 1, 2 / 3),  # radii 1, 1, 2; 0.5 is in the first two
        ([0, 1, 3], [2.0], 1, 2 / 1, 2 / 3),  # on the edge of the ball of 1, inside that of 3
        ([0, 1, 3], [-1.0, 5.0], 1, 2 / 2, 2 / 3),  # both on edges
        ([0, 1, 3], [-1.001, 5.001], 1, 0.0, 0.0),
        ([0, 1, 3], [1.0, 1.0, 1.0], 2, 9 / 6, 1.0),  # radii 3, 2, 3
        ([0, 0, 0, 8], [0.0, 0.0], 2, 8 / 4, 1.0),  # radii 0, 0, 0, 8: copies are inside
        ([0, 0, 0, 8], [0.1], 2, 1 / 2, 1 / 4),
    ],
)
def test_density_and_coverage_of_hand_made_lines(
    real: list[float], generated: list[float], k: int, density: float, coverage: float
) -> None:
    a, b = (np.array(side, dtype=np.float64)[:, None] for side in (real, generated))
    b = np.repeat(b, 2, axis=0) if len(b) == 1 else b  # a set has two images at least
    assert density_coverage(a, b, k) == pytest.approx((density, coverage), rel=1e-12)


def test_a_set_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"generated: 1 image\(s\)"):
        precision_recall(np.zeros((9, 4)), np.zeros((1, 4)))
