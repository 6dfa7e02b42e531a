from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from model.metrics.extractors.base import FeatureExtractor
from model.metrics.extractors.shipped import open_attribute_net, open_style_net
from model.metrics.frechet import frechet_distance
from model.metrics.kid import kid
from model.metrics.names import parse
from model.metrics.target import TargetSide
from tests.metrics.instruments import Cells
from tests.metrics.toys import faces, gaussian_world

FAMILIES = {
    "fid", "fid_heldout", "fid_gap", "kid_x1e3", "kid_x1e3_std", "kid_heldout_x1e3", "precision", "recall", "density",
    "coverage", "coverage_expected", "nn_ratio", "nn_ratio_tenth", "copy_rate",
}  # fmt: skip
SHOWN = 60  # pictures that are damaged step by step


class Untrained:
    """Random convolutions: an extractor that never learnt anything."""

    name, weights_sha256, preprocess_id, dim = "untrained-s0", "0" * 64, "none-v1", 48

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.kernels = [
            torch.randn(b, a, 3, 3, generator=generator) * (2 / a / 9) ** 0.5 for a, b in ((3, 16), (16, 32), (32, 48))
        ]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        maps = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        for kernel in self.kernels:
            maps = torch.nn.functional.conv2d(maps, kernel, stride=2).relu()
        return maps.mean(dim=(2, 3)).numpy()


def blurred(image: Image.Image, strength: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(strength))


def noisy(image: Image.Image, strength: float) -> Image.Image:
    pixels = np.asarray(image)
    noise = np.random.default_rng(int(pixels.sum())).normal(0.0, strength, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).round().astype(np.uint8))


def compressed(image: Image.Image, strength: float) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=100 - int(strength))
    return Image.open(file)


DAMAGES = {"blur": (blurred, (0.7, 1.5, 3.0)), "noise": (noisy, (8, 20, 50)), "jpeg": (compressed, (40, 80, 95))}


@pytest.fixture(scope="module", params=["stylenet", "attributenet", "cells", "untrained"])
def extractor(request: pytest.FixtureRequest) -> FeatureExtractor:
    openers = {
        "stylenet": open_style_net, "attributenet": open_attribute_net, "cells": lambda: Cells(16),
        "untrained": Untrained,
    }  # fmt: skip
    opened: FeatureExtractor = openers[request.param]()
    return opened


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_distances_grow_with_the_damage_done_to_the_same_pictures(extractor: FeatureExtractor, damage: str) -> None:
    pictures, (harm, strengths) = faces().images[:SHOWN], DAMAGES[damage]
    clean = extractor(pictures)
    steps = [
        extractor(np.stack([np.asarray(harm(Image.fromarray(picture), strength)) for picture in pictures]))
        for strength in strengths
    ]
    fids = [frechet_distance(clean, step) for step in (clean, *steps)]
    kids = [kid(clean, step).value for step in (clean, *steps)]
    assert fids == sorted(fids)
    assert kids[1:] == sorted(kids[1:])
    assert kids[-1] > kids[0]
    assert fids[0] == pytest.approx(0.0, abs=1e-9 * fids[-1])
    assert 0.0 < fids[1] < fids[-1]


def test_the_order_of_images_changes_nothing(extractor: FeatureExtractor) -> None:
    features = extractor(faces().images[:150])
    train, heldout, drawn = np.split(features, [60, 100])
    turned = TargetSide("x", train[::-1], heldout[::-1], seed=0)
    for name, value in TargetSide("x", train, heldout, seed=0).scores(drawn[:40], 40).items():
        # The error of the kernel distance leaves out consecutive blocks; subsets of unequal sides are picked by place.
        if parse(name).family not in {"kid_x1e3_std", "precision", "recall", "density", "coverage"}:
            assert turned.scores(drawn[:40][::-1], 40)[name] == pytest.approx(value, rel=1e-8, abs=1e-9), name


def test_identical_sets_are_at_no_distance_and_copy_everything() -> None:
    world = gaussian_world(0)
    scores = TargetSide("x", world.train, world.heldout, seed=0).scores(world.train, 200)
    assert scores["fid200[x]"] == pytest.approx(0.0, abs=1e-8)
    assert scores["kid200_x1e3[x]"] <= 0.0
    assert (scores["precision200[x]"], scores["recall200[x]"], scores["coverage200[x]"]) == (1.0, 1.0, 1.0)
    assert (scores["nn200_ratio[x]"], scores["nn200_ratio_tenth[x]"], scores["copy200_rate[x]"]) == (0.0, 0.0, 1.0)
    assert scores["fid200_gap[x]"] == pytest.approx(scores["fid200_heldout[x]"])


def test_every_metric_says_on_how_many_images_and_by_whom() -> None:
    world = gaussian_world(1)
    scores = TargetSide("stylenet-0", world.train, world.heldout, seed=0).scores(world.fresh, 400)
    names = [parse(name) for name in scores]
    assert {name.family for name in names} == FAMILIES
    assert {(name.n, name.extractor) for name in names} == {("400", "stylenet-0")}
    with pytest.raises(ValueError, match="400 generated images, but their metrics would say 1000"):
        TargetSide("stylenet-0", world.train, world.heldout, seed=0).scores(world.fresh, 1000)


def test_the_floor_lines_up_with_the_table_and_says_what_it_was_taken_from() -> None:
    world = gaussian_world(2)
    side = TargetSide("x", world.train, world.heldout, seed=0)
    scores, floor = side.scores(world.fresh, 400), side.floor(400)
    counts = {name: value for name, value in floor.items() if name.startswith("n_")}
    assert counts == {"n_half": 100.0, "n_other_half": 100.0, "n_real": 200.0, "n_heldout": 80.0}
    assert {parse(name).family for name in set(floor) - set(counts)} == FAMILIES - {
        "nn_ratio", "nn_ratio_tenth", "copy_rate",
    }  # fmt: skip
    assert set(floor) - set(counts) < set(scores)
    assert floor["kid400_x1e3[x]"] == pytest.approx(0.0, abs=4 * floor["kid400_x1e3_std[x]"])


def test_another_distribution_is_farther_than_the_floor_and_the_same_one_is_not() -> None:
    world = gaussian_world(3)
    side = TargetSide("x", world.train, world.heldout, seed=0)
    floor, near, far = side.floor(400), side.scores(world.fresh, 400), side.scores(world.fresh + 5.0, 400)
    assert near["fid400[x]"] < floor["fid400[x]"] < far["fid400[x]"] / 10
    assert far["precision400[x]"] < 0.1 < near["precision400[x]"]


def test_copying_shows_in_the_gap_between_held_out_and_training_images() -> None:
    world = gaussian_world(4)
    side = TargetSide("x", world.train, world.heldout, seed=0)
    honest, copied = side.scores(world.fresh, 400), side.scores(np.concatenate([world.replayed] * 2), 400)
    assert copied["fid400[x]"] < honest["fid400[x]"]
    assert copied["fid400_gap[x]"] > 1.5 * honest["fid400_gap[x]"]


def test_blocks_are_disjoint_parts_of_z_each_measured_alone() -> None:
    world = gaussian_world(5)
    side = TargetSide("x", world.train, world.heldout, seed=0)
    blocks = side.blocks(world.fresh[:53], count=5)
    assert set(blocks) == {"fid53[x]", "kid53_x1e3[x]"}
    for place in range(5):
        part = world.fresh[10 * place : 10 * place + 10]
        assert blocks["fid53[x]"][place] == pytest.approx(frechet_distance(part, world.train))
        assert blocks["kid53_x1e3[x]"][place] == pytest.approx(1e3 * kid(part, world.train).value)
    with pytest.raises(ValueError, match="9 images in 5 blocks"):
        side.blocks(world.fresh[:9], count=5)


def test_subsets_are_measured_only_where_they_are_smaller_than_either_side() -> None:
    rng = np.random.default_rng(0)
    train, drawn = rng.standard_normal((2, 1001, 4))
    large = TargetSide("x", train, train[:50] + 1.0, seed=0)
    assert large.scores(drawn, 1001)["kid1001_subset_x1e3[x]"] == pytest.approx(
        large.scores(drawn, 1001)["kid1001_x1e3[x]"], abs=0.5
    )
    assert "kid1000_subset_x1e3[x]" not in large.scores(drawn[:1000], 1000)


def test_broken_features_are_refused_with_the_side_that_has_them() -> None:
    world = gaussian_world(6)
    broken = world.fresh.copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match="x: generated images: features of image 7 are not finite"):
        TargetSide("x", world.train, world.heldout, seed=0).scores(broken, 400)
    with pytest.raises(ValueError, match="x: held-out images"):
        TargetSide("x", world.train, broken, seed=0)
