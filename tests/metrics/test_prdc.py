from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import calculate_precision_recall_full

from model.metrics.prdc import density_coverage, expected_coverage, prdc, precision_recall, radii


@pytest.mark.parametrize(("n", "m", "d"), [(300, 300, 16), (120, 400, 64), (5, 4, 2)])
def test_precision_and_recall_equal_torch_fidelity(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(n)
    real, generated = rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 0.9 + 0.2
    expected = calculate_precision_recall_full(torch.from_numpy(generated), torch.from_numpy(real), 3)
    assert precision_recall(real, generated) == pytest.approx(expected, abs=1e-6)


def test_density_and_coverage_of_a_hand_made_line() -> None:
    real = np.arange(6.0)[:, None]  # with k=1 every ball has radius 1
    generated = np.array([[0.0], [0.0], [1.5], [20.0]])
    # Balls holding 0: those of 0 and 1 (boundary counts); holding 1.5: of 1 and 2; holding 20: none.
    assert density_coverage(real, generated, k=1) == pytest.approx(((2 + 2 + 2 + 0) / 4, 3 / 6))


def test_duplicates_count_as_inside() -> None:
    real = np.zeros((8, 3))
    assert precision_recall(real, real) == (1.0, 1.0)
    assert density_coverage(real, real) == (8 / 5, 1.0)


def test_a_collapsed_generator_has_precision_without_recall() -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((400, 8))
    collapsed = real[:1] + 1e-3 * rng.standard_normal((400, 8))
    precision, recall = precision_recall(real, collapsed)
    assert precision == 1.0
    assert recall < 0.05
    assert density_coverage(real, collapsed)[1] < 0.1


def test_expected_coverage_matches_simulation() -> None:
    rng = np.random.default_rng(0)
    draws = [density_coverage(rng.standard_normal((200, 6)), rng.standard_normal((50, 6)))[1] for _ in range(20)]
    assert np.mean(draws) == pytest.approx(expected_coverage(200, 50), abs=0.03)


def test_unequal_sides_are_equalised_by_the_same_subsets_every_time() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.standard_normal((100, 8)), rng.standard_normal((300, 8))
    first, second = prdc(real, generated, seed=1), prdc(real, generated, seed=1)
    assert first == second
    assert first.n == 100
    assert first.recall == pytest.approx(prdc(real, generated[:100], seed=1).recall, abs=0.15)
    assert first.coverage == pytest.approx(first.coverage_expected, abs=0.1)


def test_too_few_images_for_the_neighbour_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images: neighbour 3 needs at least 4"):
        radii(np.eye(3), 3)
