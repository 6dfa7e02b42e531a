"""Pictures chosen by rule."""

from __future__ import annotations

import numpy as np

from stages.measuring.galleries import Headline, failures, nearest, pick, strip
from stages.measuring.settings import TileParams


def headline(measure: str = "landmark_nme") -> Headline:
    return Headline(measure, np.array([0.3, 0.9, np.nan, 0.1, 0.9, 0.5]))


def test_the_worst_are_the_largest_or_the_smallest_as_the_measure_means_it() -> None:
    assert headline().worst(3).tolist() == [1, 4, 5]
    assert headline("cos[net-01234567]").worst(2).tolist() == [3, 0]


def test_a_pair_without_a_value_is_never_among_the_worst() -> None:
    assert 2 not in headline().worst(6).tolist()
    assert 2 not in headline("cos[net-01234567]").worst(6).tolist()


def test_tiles_are_the_first_random_others_and_the_worst() -> None:
    picks = pick(TileParams(first=2, random=3, worst=2), headline(), seed=4)
    assert picks.first.tolist() == [0, 1]
    assert picks.worst.tolist() == [1, 4]
    assert set(picks.random.tolist()) < {2, 3, 4, 5}
    assert len(set(picks.random.tolist())) == 3
    assert picks.all.tolist() == [*picks.first, *picks.random, *picks.worst]
    assert picks.as_json()["scores"] == [0.9, 0.9]
    assert picks.as_json()["by"] == "landmark_nme"


def test_random_tiles_are_the_same_every_time_and_others_for_another_seed() -> None:
    values = Headline("landmark_nme", np.arange(200.0))
    rows = [pick(TileParams(1, 8, 0), values, seed).random.tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def test_a_strip_holds_the_tiles_in_order_without_a_gap() -> None:
    tiles = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    row = strip(tiles)
    assert row.shape == (4, 12, 3)
    for index in range(3):
        assert np.array_equal(row[:, 4 * index : 4 * index + 4], tiles[index])


def test_sheets_show_the_pixels_they_were_given() -> None:
    black, white = np.zeros((3, 128, 128, 3), np.uint8), np.full((3, 128, 128, 3), 255, np.uint8)
    for made in (failures(headline(), [1, 4, 5], black, white), nearest([0.1, 0.2, 0.3], black, white, "net")):
        for value in (0, 255):
            assert (made == value).all(axis=2).sum() >= 3 * 128 * 128
