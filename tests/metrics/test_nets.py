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
    net = StyleNet(2, 2).eval()
    line = torch.linspace(-1, 1, 256)
    smooth = (0.8 * torch.sin(3 * line)[:, None] * torch.cos(2 * line)[None]).expand(1, 3, 256, 256)
    pooled = torch.nn.functional.avg_pool2d(smooth, 4)
    assert torch.allclose(net.features(smooth), net.features(pooled), atol=0.01)
    stripes = torch.ones(1, 3, 256, 256)
    stripes[..., ::2] = -1.0  # finer than 64 px can show: antialiased it is grey, skipped it would be black
    assert torch.allclose(net.features(stripes), net.features(torch.zeros(1, 3, 64, 64)), atol=0.1)


def test_the_second_look_is_the_same_however_the_face_lies_in_the_picture() -> None:
    net = AttributeNet(2, 3).eval()
    net.mean_points.copy_(torch.tensor([[0.4, 0.45], [0.6, 0.45], [0.5, 0.65]]))
    data = torch.zeros(1, 3, 64, 64)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    seen = []
    for angle, shift in ((0.0, 0.0), (10.0, 4.0)):
        turn = torch.deg2rad(torch.tensor(angle))
        cos, sin = turn.cos(), turn.sin()
        x, y = columns + 0.5 - 32 - shift, rows + 0.5 - 32
        back = torch.stack([cos * x + sin * y, -sin * x + cos * y])
        data[0] = torch.exp(-((back[0] - 6) ** 2 + (back[1] - 3) ** 2) / 18)
        matrix = torch.tensor([[cos, -sin], [sin, cos]])
        points = (net.mean_points - 0.5) @ matrix.T + 0.5 + torch.tensor([shift / 64, 0.0])
        seen.append(net._upright(data, points[None]))
    assert torch.allclose(seen[0], seen[1], atol=0.03)
    assert float(seen[0].max()) > 0.8


@pytest.mark.parametrize("net", [AttributeNet(22, 18), StyleNet(3, 22)])
def test_weights_fit_into_one_and_a_half_megabytes(net: torch.nn.Module) -> None:
    assert 4 * sum(tensor.numel() for tensor in net.state_dict().values()) <= 1_500_000


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[N, 3, H, W\]"):
        StyleNet(2, 2)(torch.zeros(1, 64, 64, 3))
