from __future__ import annotations

import numpy as np
import pytest

from model.metrics import prdc as prdc_module
from model.metrics.prdc import density_coverage, distances, expected_coverage, prdc, precision_recall


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
        precision_recall(np.eye(5, 3), np.eye(3))
    with pytest.raises(ValueError, match="5 images: neighbour 5 needs at least 6"):
        prdc(np.eye(9), np.eye(5, 9), seed=0)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_blocks_do_not_change_a_bit_of_the_result(monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.standard_normal((90, 8)) + offset, rng.standard_normal((140, 8)) + offset
    generated[:40] = real[:40]  # copies: distances that tie with radii
    real[50:60] = real[0]
    whole = prdc(real, generated, seed=1)
    for block in (1, 90, 1000, 5039):
        monkeypatch.setattr(prdc_module, "BLOCK", block)
        assert prdc(real, generated, seed=1) == whole


def test_copies_of_a_neighbour_lie_on_the_ball_and_count_however_distances_are_rounded() -> None:
    rng = np.random.default_rng(2)
    real = rng.standard_normal((60, 50)) * 3.0 + 100.0
    far = np.argsort(((real[:, None] - real[None]) ** 2).sum(axis=2), axis=1)[:, 5]  # each image's 5th neighbour
    for i in range(60):
        copies = np.repeat(real[far[i]][None], 6, axis=0)
        inside = (((real - copies[0]) ** 2).sum(axis=1)[:, None] <= _fifth_radius(real)[:, None] * (1 + 1e-9)).sum()
        assert density_coverage(real, copies) == (inside / 5, inside / 60)


def _fifth_radius(real: np.ndarray) -> np.ndarray:
    return np.sort(((real[:, None] - real[None]) ** 2).sum(axis=2), axis=1)[:, 5]


def test_equal_sizes_give_the_plain_shares_whatever_the_seed() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.standard_normal((80, 6)), rng.standard_normal((80, 6)) * 0.8
    result = prdc(real, generated, seed=5)
    assert (result.precision, result.recall) == precision_recall(real, generated)
    assert (result.density, result.coverage) == density_coverage(real, generated)
    assert prdc(real, generated, seed=6) == result


@pytest.mark.parametrize("larger", ["real", "generated"])
def test_unequal_sizes_give_the_mean_over_the_subsets_that_the_seed_names(larger: str) -> None:
    rng = np.random.default_rng(0)
    small, large = rng.standard_normal((40, 6)), rng.standard_normal((100, 6)) * 0.9
    real, generated = (large, small) if larger == "real" else (small, large)
    rows = []
    for draw in range(prdc_module.SUBSETS):
        pick = np.random.Generator(np.random.Philox(key=3, counter=[0, 0, 0, draw])).choice(100, 40, replace=False)
        sides = (large[pick], small) if larger == "real" else (small, large[pick])
        rows.append([*precision_recall(*sides), *density_coverage(*sides)])
    found = prdc(real, generated, seed=3)
    expected = pytest.approx(np.mean(rows, axis=0), rel=1e-12)
    assert [found.precision, found.recall, found.density, found.coverage] == expected


def test_distances_survive_an_offset_and_find_copies_exactly() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 20)) + 1e4, rng.standard_normal((40, 20)) + 1e4
    y[3] = x[7]
    found = distances(x, y)
    assert found[7, 3] == 0.0
    np.testing.assert_allclose(found, np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=2)), rtol=1e-9)
