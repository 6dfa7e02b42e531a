"""Generator: sizes, rows of ws, the one synthesis loop, numeric identities."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.networks.generator import Generator, GeneratorConfig
from tests.tiny import tiny_generator

SIZES = [
    (64, 1, 23_819_544),
    (64, 2, 27_032_600),
    (128, 1, 24_525_213),
    (128, 2, 29_328_669),
    (256, 1, 24_767_458),
    (256, 2, 30_034_338),
    (512, 1, 24_860_935),
    (512, 2, 30_276_583),
    (1024, 1, 24_900_764),
    (1024, 2, 30_370_060),
]


def meta_generator(config: GeneratorConfig) -> Generator:
    with torch.device("meta"):
        return Generator(config)


def drawn(generator: Generator, n: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ws with rows that differ, and the image."""
    ws = torch.randn(n, generator.num_ws, generator.config.w_dim, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return ws, generator.synthesis(ws, generator.synthesis.const_noise())


@pytest.mark.parametrize(("size", "multiplier", "parameters"), SIZES)
def test_parameter_counts_are_those_of_the_published_networks(size: int, multiplier: int, parameters: int) -> None:
    generator = meta_generator(GeneratorConfig(size, 512, 512, 8, 16384 * multiplier, 512))
    assert sum(p.numel() for p in generator.parameters()) == parameters
    assert generator.num_ws == 2 * (size.bit_length() - 1) - 2


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
def test_every_size_gives_images_of_that_size_and_blocks_of_every_size_below(size: int) -> None:
    generator = tiny_generator(resolution=size)
    ws, images = drawn(generator)
    assert images.shape == (2, 3, size, size)
    steps = list(generator.synthesis.walk(ws, generator.synthesis.const_noise()))
    assert [step.resolution for step in steps] == list(generator.config.resolutions)
    for step in steps:
        assert step.features.shape == (2, generator.config.channels(step.resolution), step.resolution, step.resolution)
        assert step.rgb.shape == (2, 3, step.resolution, step.resolution)


def test_each_row_of_ws_reaches_the_layers_of_the_published_table() -> None:
    generator = meta_generator(GeneratorConfig(256, 8, 8, 1, 2048, 8))
    rows: dict[int, set[str]] = {}
    for resolution in generator.config.resolutions:
        block = generator.synthesis.block(resolution)
        names = [f"{resolution}.conv{i}" for i in ([1] if resolution == 4 else [0, 1])] + [f"{resolution}.to_rgb"]
        for offset, name in enumerate(names):
            rows.setdefault(block.first_row + offset, set()).add(name)
    expected = {0: {"4.conv1"}, 13: {"256.to_rgb"}}
    for k, resolution in enumerate([8, 16, 32, 64, 128, 256]):
        expected[2 * k + 1] = {f"{resolution // 2}.to_rgb", f"{resolution}.conv0"}
        expected[2 * k + 2] = {f"{resolution}.conv1"}
    assert rows == expected


def test_a_row_changes_nothing_below_the_block_that_uses_it() -> None:
    generator = tiny_generator()
    ws, _ = drawn(generator)
    for row in range(generator.num_ws):
        other = ws.clone()
        other[:, row] += 1.0
        first = 4 * 2 ** ((row + 1) // 2)  # px of the first block whose features see the row; the last row sees none
        noise = generator.synthesis.const_noise()
        with torch.no_grad():
            for a, b in zip(generator.synthesis.walk(ws, noise), generator.synthesis.walk(other, noise), strict=True):
                assert torch.equal(a.features, b.features) == (a.resolution < first)


@torch.no_grad()
def test_going_on_after_a_block_equals_the_whole_pass_bit_for_bit() -> None:
    generator = tiny_generator()
    ws, images = drawn(generator)
    noise = generator.synthesis.const_noise()
    for step in generator.synthesis.walk(ws, noise):
        rest = list(generator.synthesis.walk(ws, noise, after=step))
        assert torch.equal(rest[-1].rgb if rest else step.rgb, images)


def test_wrong_shapes_name_what_was_found_and_what_is_expected() -> None:
    generator = tiny_generator()
    with pytest.raises(ValueError, match=r"ws: found shape \[2, 3, 8\], expected \[N, 8, 8\]"):
        generator.synthesis(torch.zeros(2, 3, 8), generator.synthesis.const_noise())
    with pytest.raises(ValueError, match="noise: found 2 maps, expected 7"):
        generator.synthesis(torch.zeros(2, 8, 8), [None, None])


@pytest.mark.parametrize("resolution", [0, 4, 48, 2048])
def test_a_resolution_that_is_no_stylegan2_is_refused(resolution: int) -> None:
    with pytest.raises(ValueError, match=f"resolution: found {resolution}"):
        GeneratorConfig(resolution, 8, 8, 2, 4096, 16)


@torch.no_grad()
def test_demodulated_features_have_unit_variance_times_the_gain_for_white_input() -> None:
    conv = tiny_generator(resolution=64).synthesis.block(64).conv1
    nn.init.zeros_(conv.bias)
    nn.init.zeros_(conv.affine.weight)  # style 1 for every channel
    x = torch.randn(4, conv.weight.shape[1], 64, 64, generator=torch.Generator().manual_seed(1))
    y = conv(x, torch.zeros(4, 8), None)
    before = torch.where(y < 0, y / 0.2, y) / 2**0.5  # undo leaky ReLU and its gain
    assert before[..., 1:-1, 1:-1].std().item() == pytest.approx(1.0, rel=0.05)


@torch.no_grad()
def test_styles_scale_free_features_but_not_the_rgb() -> None:
    block = tiny_generator().synthesis.block(8)
    x, w = torch.randn(2, 16, 8, 8), torch.randn(2, 8)
    plain, rgb = block.conv1(x, w, None), block.to_rgb(x, w)
    for layer in (block.conv1, block.to_rgb):
        layer.affine.weight.mul_(3.0)
        layer.affine.bias.mul_(3.0)
    assert torch.allclose(block.conv1(x, w, None), plain, atol=1e-4)
    bias = block.to_rgb.bias[:, None, None]
    assert torch.allclose(block.to_rgb(x, w) - bias, 3 * (rgb - bias), atol=1e-4)
