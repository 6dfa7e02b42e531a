from __future__ import annotations

import pytest
import torch

from model.metrics.nets import FEATURES, AttributeNet, StyleNet


def test_attribute_net_reads_attributes_and_points() -> None:
    attributes, points = AttributeNet(22, 18)(torch.zeros(3, 3, 64, 64))
    assert attributes.shape == (3, 22)
    assert points.shape == (3, 18, 2)


def test_style_net_heads_read_its_features_linearly() -> None:
    net = StyleNet(3, 22)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    style, attributes, damage = net(images)
    assert net.features(images).shape == (2, FEATURES)
    assert torch.allclose(style, net.style(net.features(images)))
    assert attributes.shape == (2, 22)
    assert damage.shape == (2, 3)


def test_other_sizes_are_averaged_down_to_64_px() -> None:
    net = StyleNet(2, 2)
    small = torch.rand(2, 3, 64, 64) * 2 - 1
    large = small.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    assert torch.allclose(net.features(large), net.features(small), atol=0.05)
    stripes = torch.ones(1, 3, 256, 256)
    stripes[..., ::2] = -1.0  # finer than 64 px can show: antialiased it is grey, skipped it would be black
    assert torch.allclose(net.features(stripes), net.features(torch.zeros(1, 3, 64, 64)), atol=0.02)


@pytest.mark.parametrize("net", [AttributeNet(22, 18), StyleNet(3, 22)])
def test_weights_fit_into_one_and_a_half_megabytes(net: torch.nn.Module) -> None:
    assert 4 * sum(tensor.numel() for tensor in net.state_dict().values()) <= 1_500_000


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\]"):
        StyleNet(2, 2)(torch.zeros(1, 64, 64, 3))
