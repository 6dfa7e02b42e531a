"""Our kernel distance against torch-fidelity with its own subsets, and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity import metric_kid

from model.metrics.kid import kid, kid_subset
from tests.metrics.parity.cases import CASES, Case, spread

SUBSETS, SEED = 4, 2020
POLYNOMIAL = {
    "kid_kernel": "poly",
    "kid_kernel_poly_degree": 3,
    "kid_kernel_poly_gamma": None,
    "kid_kernel_poly_coef0": 1,
}


def definition(x: np.ndarray, y: np.ndarray) -> float:
    """Gretton et al. 2012, equation 3, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1.0) ** 3

    x, y = x.tolist(), y.tolist()
    within = [
        sum(k(side[i], side[j]) for i in range(len(side)) for j in range(len(side)) if i != j)
        / (len(side) * (len(side) - 1))
        for side in (x, y)
    ]
    return sum(within) - 2.0 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize("case", spread(CASES))
def test_the_subset_form_equals_torch_fidelity_on_its_own_subsets(case: Case) -> None:
    x, y = (np.asarray(side, dtype=np.float64) for side in case.sides())
    size = max(2, min(len(x), len(y)) * 2 // 3)
    theirs = metric_kid.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y),
        kid_subsets=SUBSETS, kid_subset_size=size, rng_seed=SEED, verbose=False, **POLYNOMIAL,
    )  # fmt: skip
    rng = np.random.RandomState(SEED)
    picks = [tuple(rng.choice(len(side), size, replace=False) for side in (x, y)) for _ in range(SUBSETS)]
    ours = kid_subset(x, y, seed=0, picks=picks)
    assert ours is not None
    scale = max(1.0, float(np.abs(x).max()) ** 6) if case.kind == "far from zero" else 1.0  # kernels of 1e24
    assert ours.value == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_MEAN], rel=1e-12, abs=1e-12 * scale)
    assert ours.std == pytest.approx(theirs[metric_kid.KEY_METRIC_KID_STD], rel=1e-12, abs=1e-12 * scale)


@pytest.mark.parametrize("case", spread(CASES[::4]))
def test_the_full_form_equals_the_definition(case: Case) -> None:
    x, y = (side[:24] for side in case.sides())
    scale = max(1.0, float(np.abs(x).max()) ** 6)
    assert kid(x, y).value == pytest.approx(definition(x, y), rel=1e-12, abs=1e-13 * scale)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (10, 80)])
def test_the_full_form_of_equal_distributions_is_zero_on_average(n: int, m: int) -> None:
    draws = []
    for i in range(200):
        rng = np.random.default_rng(i)
        draws.append(kid(rng.standard_normal((n, 6)), rng.standard_normal((m, 6))).value)
    assert abs(np.mean(draws)) < 3 * np.std(draws, ddof=1) / np.sqrt(len(draws))


def test_a_set_of_one_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"y: 1 image\(s\)"):
        kid(np.zeros((9, 4)), np.zeros((1, 4)))
