from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.metrics.augment import augment
from tests.metrics.standin import LIVELY, STILL, probe_set


def faces(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    data = probe_set(n)
    images = torch.from_numpy(data.images[:, 1]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return images, torch.from_numpy(data.points)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_jitter_changes_nothing() -> None:
    images, points = faces(4)
    seen = augment(images, points, STILL, rng())
    assert torch.allclose(seen.images, images, atol=1e-5)
    assert torch.allclose(seen.points, points)
    assert (seen.turned == 0).all()


def test_landmarks_follow_the_picture() -> None:
    exact = torch.rand(60, 1, 2, generator=rng(5)) * 0.4 + 0.3
    grid = (torch.arange(64) + 0.5) / 64
    x, y = exact[:, 0, 0, None, None], exact[:, 0, 1, None, None]
    spot = torch.exp(-((grid[None, None, :] - x) ** 2 + (grid[None, :, None] - y) ** 2) / (2 * 0.03**2))
    square = (spot * 2.0 - 1.0)[:, None].expand(-1, 3, -1, -1)
    seen = augment(square, exact, replace(STILL, scale=0.12, shift=0.06, rotate=5.0), rng())
    light = seen.images.mean(dim=1) + 1.0
    x = (light.sum(dim=1) * grid).sum(dim=1) / light.sum(dim=(1, 2))
    y = (light.sum(dim=2) * grid).sum(dim=1) / light.sum(dim=(1, 2))
    assert torch.allclose(torch.stack([x, y], dim=1), seen.points[:, 0], atol=0.1 / 64)
    assert float((seen.points - exact).abs().max()) > 0.03


def test_turned_is_clockwise_degrees() -> None:
    points = torch.tensor([[[0.5, 0.5], [0.7, 0.5]]]).expand(200, 2, 2)
    seen = augment(torch.zeros(200, 3, 16, 16), points, replace(STILL, rotate=5.0), rng())
    arm = seen.points[:, 1] - seen.points[:, 0]
    assert torch.allclose(torch.rad2deg(torch.atan2(arm[:, 1], arm[:, 0])), seen.turned, atol=1e-3)
    assert 4.0 < float(seen.turned.abs().max()) <= 5.0


def test_a_third_of_the_pictures_stays_undamaged_and_the_rest_says_how_much() -> None:
    images, points = faces(300)
    seen = augment(images, points, replace(STILL, noise=0.2), rng())
    error = (seen.images - images).square().mean(dim=(1, 2, 3)).sqrt()
    clean = seen.damage[:, 1] == 0
    assert 0.25 < clean.float().mean() < 0.45
    assert float(error[clean].max()) < 1e-5
    assert np.corrcoef(error.numpy(), seen.damage[:, 1].numpy())[0, 1] > 0.95


@pytest.mark.parametrize("kind", ["blur", "warp", "brightness", "contrast", "tint"])
def test_each_change_alone_changes_pictures_and_leaves_landmarks(kind: str) -> None:
    images, points = faces(20)
    images = images * torch.tensor([1.0, 0.5, 0.2])[None, :, None, None]
    seen = augment(images, points, replace(STILL, **{kind: 0.3}), rng())
    assert float((seen.images - images).abs().mean()) > 3e-4
    assert torch.allclose(seen.points, points, atol=1e-6)


def test_the_generator_is_the_only_source_of_randomness() -> None:
    images, points = faces(8)
    first = augment(images, points, LIVELY, rng(3))
    torch.manual_seed(99)
    second = augment(images, points, LIVELY, rng(3))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.points, second.points)
