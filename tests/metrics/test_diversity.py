from __future__ import annotations

import numpy as np
import pytest

from model.metrics.diversity import Diversity, chosen_rows, feature_ruler, k_medoids, picture_ruler, spread
from tests.metrics.instruments import Difference
from tests.metrics.toys import faces, gaussian_world


def line(*places: float) -> np.ndarray:
    return np.array(places)[:, None]


def mutual(rows: np.ndarray) -> np.ndarray:
    return feature_ruler("x").among(rows)


def test_spread_is_the_mean_distance_to_the_nearest_tenth_of_the_others() -> None:
    rows = gaussian_world(0).train[:41]
    every = [sorted(np.linalg.norm(row - rows, axis=1))[1:5] for row in rows]
    assert spread(mutual(rows)) == pytest.approx(np.mean(every))
    assert spread(mutual(line(0.0, 3.0))) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="at least 2"):
        spread(np.zeros((1, 1)))


def test_sets_of_different_size_are_comparable() -> None:
    world = gaussian_world(1)
    every = np.concatenate([world.train, world.heldout, world.fresh])
    assert spread(mutual(every[:60])) == pytest.approx(spread(mutual(every)), rel=0.1)


def test_variety_is_one_for_the_training_images_and_scales_with_distances() -> None:
    world = gaussian_world(2)
    side = Diversity(feature_ruler("x"), world.train, seed=0)
    assert side.variety(world.train) == pytest.approx(1.0)
    assert side.variety(0.5 * world.train + 7.0) == pytest.approx(0.5)
    assert side.variety(np.repeat(world.fresh[:1], 40, axis=0)) == 0.0


def test_variety_sees_repetition_that_the_mean_over_all_pairs_hides() -> None:
    world = gaussian_world(3)
    drawn = np.repeat(world.fresh[:10], 40, axis=0)
    side = Diversity(feature_ruler("x"), world.train, seed=0)
    assert mutual(drawn).mean() > 0.7 * mutual(world.train).mean()
    assert side.variety(drawn) < 0.1


def test_medoids_are_the_middles_of_clusters() -> None:
    places = [0.0, 1.0, 2.0, 50.0, 51.0, 53.0, 90.0]
    assert sorted(k_medoids(mutual(line(*places)), 3).tolist()) == [1, 4, 6]
    assert sorted(k_medoids(mutual(line(*places)), 7).tolist()) == list(range(7))


def test_medoids_do_not_depend_on_a_seed_and_no_single_move_is_better() -> None:
    apart = mutual(gaussian_world(4).train)
    centres = k_medoids(apart, 10)
    assert centres.tolist() == k_medoids(apart, 10).tolist()
    owner = apart[:, centres].argmin(axis=1)
    for place, centre in enumerate(centres):
        members = np.flatnonzero(owner == place)
        assert apart[np.ix_(members, members)].sum(axis=0).min() == pytest.approx(apart[centre, members].sum())


def test_distance_within_clusters_is_averaged_over_clusters_not_over_images() -> None:
    side = Diversity(feature_ruler("x"), line(0.0, 100.0), seed=0)
    found = side.intra(line(0.0, 1.0, 2.0, 98.0, 102.0))
    assert found.value == pytest.approx(((1 + 2 + 1) / 3 + 4) / 2)
    assert (found.clusters, found.empty, found.reason) == (2, 0, "")


def test_at_most_fifty_of_a_cluster_and_a_thousand_of_all_are_compared() -> None:
    side = Diversity(feature_ruler("x"), line(0.0, 1000.0), seed=0)
    near, far = np.tile([0.0, 1.0], 25), np.full(900, 1.0)
    drawn = line(*near, *far, *np.tile([1000.0, 1003.0], 25), *np.full(500, 1400.0))
    assert side.intra(drawn).value == pytest.approx((25 / 49 + 3 * 25 / 49) / 2)


@pytest.mark.parametrize(("extra", "empty"), [((), 2), ((98.0,), 1)])
def test_a_cluster_of_fewer_than_two_leaves_no_value_but_a_reason(extra: tuple[float, ...], empty: int) -> None:
    side = Diversity(feature_ruler("x"), line(0.0, 100.0, 300.0), seed=0)
    drawn = line(0.0, 1.0, 97.0, *extra)
    scores, reasons = side.scores(drawn)
    assert scores["intra_distance[x]"] is None
    assert scores["intra_empty[x]"] == empty
    assert scores["variety[x]"] is not None
    assert reasons == {
        "intra_distance[x]": f"{empty} of 3 clusters have fewer than two of {len(drawn)} generated images"
    }


@pytest.mark.slow
def test_pictures_are_compared_pair_by_pair_and_named_after_their_distance() -> None:
    images, network = faces().images, Difference()
    side = Diversity(picture_ruler(network), images[:30], seed=0)
    assert network.pairs == 30 * 29 // 2
    scores, reasons = side.scores(images[100:220])
    assert set(scores) == {"variety[difference-s0]", "intra_lpips[difference-s0]", "intra_empty[difference-s0]"}
    assert scores["variety[difference-s0]"] == pytest.approx(1.0, abs=0.2)
    assert reasons == {}
    collapsed, _ = side.scores(np.repeat(images[100:103], 40, axis=0))
    assert collapsed["variety[difference-s0]"] == 0.0
    flat = images[100:220].reshape(120, -1) / 255.0
    apart = ((flat[:100, None] - flat[None, :100]) ** 2).mean(axis=2)
    train = images[:30].reshape(30, -1) / 255.0
    expected = spread(apart) / spread(((train[:, None] - train[None]) ** 2).mean(axis=2))
    assert scores["variety[difference-s0]"] == pytest.approx(expected)


def test_large_sets_are_cut_by_a_fixed_choice() -> None:
    assert chosen_rows(5, 9, seed=3).tolist() == [0, 1, 2, 3, 4]
    chosen = chosen_rows(500, 100, seed=3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert chosen.tolist() == chosen_rows(500, 100, seed=3).tolist() != chosen_rows(500, 100, seed=4).tolist()


def test_training_images_that_are_all_the_same_cannot_be_compared_with() -> None:
    with pytest.raises(ValueError, match="all the same"):
        Diversity(feature_ruler("x"), np.ones((20, 3)), seed=0)
