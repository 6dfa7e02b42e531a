from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.files import write_manifest
from model.metrics.features import AttributeReader
from model.metrics.fit import attribute_net, write_asset
from model.metrics.scores import SourceSide, TargetSide, worst
from tests.metrics.standin import probe_set


class Pixels:
    """An extractor whose features are the mean colours of 2 x 2 cells."""

    name, dim, weights_sha256 = "pixels-s0", 12, "0" * 64

    def __call__(self, images: np.ndarray) -> np.ndarray:
        n, size = len(images), images.shape[1]
        cells = images.reshape(n, 2, size // 2, 2, size // 2, 3).mean(axis=(2, 4))
        return (cells.reshape(n, 12) / 64).astype(np.float32)


@pytest.fixture
def reader(tmp_path: Path) -> AttributeReader:
    torch.manual_seed(0)
    data = probe_set(30)
    write_asset(tmp_path / "attribute_net.safetensors", attribute_net(data), data, {})
    write_manifest(tmp_path)
    return AttributeReader(tmp_path)


def noise(n: int, seed: int, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (n, 32, 32, 3), dtype=np.uint8)


def test_a_perfect_copy_scores_perfectly_and_lifts_to_one(reader: AttributeReader) -> None:
    faces = probe_set(30).images[:, 1]
    side = SourceSide(faces, reader, seed=0)
    scores = side.scores(side.seen)
    assert (scores["landmark_nme"], scores["attribute_mse"], scores["lowres_mse_8"]) == (0.0, 0.0, 0.0)
    assert scores["edge_ssim"] == pytest.approx(1.0)
    assert [scores[f"{name}_lift"] for name in ("landmark_nme", "attribute_mse", "edge_ssim")] == pytest.approx(
        [1, 1, 1]
    )
    assert scores["attribute_corr"] == pytest.approx(1.0)


def test_shuffled_pairs_lift_to_zero(reader: AttributeReader) -> None:
    faces = probe_set(30).images[:, 1]
    side = SourceSide(faces, reader, seed=0)
    floor = side.shuffled(side.seen)
    assert floor["landmark_nme"] > 0.0
    assert floor["edge_ssim"] < 0.99
    assert side.means(side.see(faces[side.partners])) == pytest.approx(floor)


def test_a_blend_ladder_is_monotone_on_the_similarity_axis(reader: AttributeReader) -> None:
    faces = probe_set(30).images[:, 1]
    side = SourceSide(faces, reader, seed=0)
    others = faces[side.partners]
    ladder = [
        side.means(side.see(((1 - a) * faces + a * others).round().astype(np.uint8))) for a in (0.0, 0.25, 0.5, 1.0)
    ]
    assert [step["edge_ssim"] for step in ladder] == sorted((step["edge_ssim"] for step in ladder), reverse=True)
    assert [step["attribute_mse"] for step in ladder] == sorted(step["attribute_mse"] for step in ladder)


def test_intervals_contain_their_means(reader: AttributeReader) -> None:
    faces = probe_set(30).images
    side = SourceSide(faces[:, 0], reader, seed=0)
    scores = side.scores(side.see(faces[:, 1]))
    for name in ("landmark_nme", "attribute_mse", "edge_ssim"):
        assert scores[f"{name}_low"] <= scores[name] <= scores[f"{name}_high"]


def test_distribution_scores_carry_the_extractor_and_never_a_bare_fid() -> None:
    side = TargetSide(noise(60, 0), noise(40, 1), Pixels(), seed=0)
    scores = side.scores(Pixels()(noise(80, 2)))
    assert {"fid[pixels-s0]", "fid_heldout[pixels-s0]", "kid_x1e3[pixels-s0]", "nn_ratio[pixels-s0]"} <= set(scores)
    assert not {"fid", "kid", "kid_x1e3"} & set(scores)
    assert side.floor()["kid_x1e3[pixels-s0]"] == pytest.approx(0.0, abs=3 * side.floor()["kid_x1e3_std[pixels-s0]"])


def test_another_distribution_is_farther_than_the_real_floor() -> None:
    side = TargetSide(noise(60, 0), noise(40, 1), Pixels(), seed=0)
    near, far = (side.scores(Pixels()(noise(60, 5, 0, high))) for high in (256, 128))
    assert far["fid[pixels-s0]"] > 10 * side.floor()["fid[pixels-s0]"] > near["fid[pixels-s0]"] / 10
    assert far["precision"] < 0.1 < near["precision"]


def test_a_memoriser_trips_the_nearest_neighbour_gate_and_an_honest_generator_does_not() -> None:
    for seed in range(20):
        train, heldout = noise(50, 10 * seed), noise(30, 10 * seed + 1)
        side = TargetSide(train, heldout, Pixels(), seed=0)
        copied = np.clip(train.astype(int) + noise(50, 10 * seed + 2, 0, 3) - 1, 0, 255).astype(np.uint8)
        assert side.scores(Pixels()(copied))["nn_ratio[pixels-s0]"] < 0.4
        assert side.scores(Pixels()(noise(50, 10 * seed + 3)))["nn_ratio[pixels-s0]"] > 0.7


def test_worst_comes_first() -> None:
    assert worst(np.array([0.1, 0.5, 0.3, 0.5]), 3).tolist() == [1, 3, 2]
