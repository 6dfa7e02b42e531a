"""Discriminator: sizes, groups of the minibatch deviation, shapes refused."""

from __future__ import annotations

import pytest
import torch

from model.networks.discriminator import Discriminator, DiscriminatorConfig
from model.networks.layers import minibatch_stddev

SIZES = [
    (64, 1, 23_407_361),
    (64, 2, 26_488_833),
    (128, 1, 23_882_369),
    (128, 2, 28_389_121),
    (256, 1, 24_001_089),
    (256, 2, 28_864_129),
    (512, 1, 24_030_753),
    (512, 2, 28_982_849),
    (1024, 1, 24_038_161),
    (1024, 2, 29_012_513),
]


@pytest.mark.parametrize(("size", "multiplier", "parameters"), SIZES)
def test_parameter_counts_are_those_of_the_published_networks(size: int, multiplier: int, parameters: int) -> None:
    with torch.device("meta"):
        network = Discriminator(DiscriminatorConfig(size, 16384 * multiplier, 512))
    assert sum(p.numel() for p in network.parameters()) == parameters


@torch.no_grad()
@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("batch", [1, 2, 6, 8])
def test_every_size_and_batch_gives_one_finite_logit_per_image(size: int, batch: int) -> None:
    network = Discriminator(DiscriminatorConfig(size, 256, 16))
    logits = network(torch.randn(batch, 3, size, size))
    assert logits.shape == (batch, 1)
    assert torch.isfinite(logits).all()


def test_images_of_another_size_are_refused_by_name() -> None:
    network = Discriminator(DiscriminatorConfig(32, 256, 16))
    with pytest.raises(ValueError, match=r"found shape \[2, 3, 64, 64\], expected \[N, 3, 32, 32\]"):
        network(torch.zeros(2, 3, 64, 64))


def test_minibatch_deviation_groups_are_strided_through_the_batch() -> None:
    x = torch.randn(8, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    plane = minibatch_stddev(x)[:, 5]
    for i in range(8):
        group = x[i % 2 :: 2]
        expected = torch.sqrt(group.var(0, unbiased=False) + 1e-8).mean()
        assert torch.allclose(plane[i], expected.expand(4, 4))


def test_minibatch_deviation_of_equal_images_is_zero_and_keeps_the_features() -> None:
    x = torch.randn(1, 5, 4, 4).expand(4, -1, -1, -1)
    out = minibatch_stddev(x)
    assert torch.equal(out[:, :5], x)
    assert out[:, 5].abs().max() < 2e-4
