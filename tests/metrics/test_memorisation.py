from __future__ import annotations

import numpy as np
import pytest

from model.metrics import memorisation
from model.metrics.memorisation import closest, copy_rate, nearest, nn_ratio, nn_ratio_tenth
from tests.metrics.toys import gaussian_world


def test_ratios_and_rates_are_those_of_distances_taken_one_by_one() -> None:
    world = gaussian_world(0)

    def apart(rows: np.ndarray) -> np.ndarray:
        return np.array([min(np.linalg.norm(row - other) for other in world.train) for row in rows])

    drawn = np.concatenate([world.fresh[:60], world.replayed[:20]])
    generated, heldout = apart(drawn), apart(world.heldout)
    sides = (drawn, world.train, world.heldout)
    assert nn_ratio(*sides) == pytest.approx(np.median(generated) / np.median(heldout))
    assert nn_ratio_tenth(*sides) == pytest.approx(np.quantile(generated, 0.1) / np.quantile(heldout, 0.1))
    assert copy_rate(*sides) == pytest.approx((generated < np.quantile(heldout, 0.01)).mean())


def test_copies_that_the_median_overlooks_show_in_the_nearest_tenth() -> None:
    world = gaussian_world(1)
    drawn = np.concatenate([world.fresh[:80], world.replayed[:20]])
    assert nn_ratio(drawn, world.train, world.heldout) > 0.7
    assert nn_ratio_tenth(drawn, world.train, world.heldout) < 0.1
    assert copy_rate(drawn, world.train, world.heldout) == pytest.approx(0.2, abs=0.05)


def test_the_gallery_shows_the_closest_pairs_nearest_first_and_each_image_once() -> None:
    world = gaussian_world(2)
    drawn = world.fresh[:50].copy()
    drawn[[31, 4]] = world.train[17] + 1e-3, world.train[99]
    generated, train, apart = closest(drawn, world.train, count=16)
    assert (generated[:2].tolist(), train[:2].tolist()) == ([4, 31], [99, 17])
    assert apart[0] == 0.0
    assert apart.tolist() == sorted(apart)
    assert len(set(generated.tolist())) == 16
    assert apart == pytest.approx(np.linalg.norm(drawn[generated] - world.train[train], axis=1), abs=1e-6)
    assert len(closest(drawn, world.train, count=99)[0]) == 50


def test_rows_taken_in_blocks_are_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    world = gaussian_world(3)
    whole = closest(world.fresh, world.train, count=400)
    monkeypatch.setattr(memorisation, "BLOCK_ROWS", 33)
    for mine, theirs in zip(closest(world.fresh, world.train, count=400), whole, strict=True):
        assert mine == pytest.approx(theirs)


def test_held_out_images_that_are_copies_themselves_cannot_judge() -> None:
    world = gaussian_world(4)
    with pytest.raises(ValueError, match="held-out images are copies"):
        nn_ratio(world.fresh, world.train, world.train[:20])
    some = np.concatenate([world.heldout[:17], world.train[:3]])
    assert np.isnan(nn_ratio_tenth(world.fresh, world.train, some))
    assert nn_ratio(world.fresh, world.train, some) == pytest.approx(1.0, abs=0.1)
    assert nearest(world.train, world.train) == 0.0
