"""Names and shapes of the rosinality/stylegan2-pytorch state dicts, entry by entry beside ours.

Every tensor of theirs is a reshape of one of ours, so a table of names and shapes is the whole conversion.

Source: rosinality/stylegan2-pytorch, revision bef283a; names and shapes re-told, no code taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from model.networks.discriminator import DiscriminatorConfig
from model.networks.generator import GeneratorConfig
from model.ops.fir import TAPS


class Entry(NamedTuple):
    """One tensor: our name, their name, their shape."""

    ours: str
    theirs: str
    shape: tuple[int, ...]


def generator_entries(config: GeneratorConfig) -> Iterator[Entry]:
    """Yield every parameter of their generator, in the order of their state dict (noise maps apart)."""
    width = config.z_dim
    for i in range(config.mapping_layers):
        yield Entry(f"mapping.layers.{i}.weight", f"style.{i + 1}.weight", (config.w_dim, width))
        yield Entry(f"mapping.layers.{i}.bias", f"style.{i + 1}.bias", (config.w_dim,))
        width = config.w_dim
    yield Entry("synthesis.const", "input.input", (1, config.channels(4), 4, 4))
    yield from _styled(config, "synthesis.blocks.4.conv1", "conv1", (config.channels(4), config.channels(4)))
    yield from _to_rgb(config, 4, "to_rgb1")
    for k, resolution in enumerate(config.resolutions[1:]):
        below, here = config.channels(resolution // 2), config.channels(resolution)
        yield from _styled(config, f"synthesis.blocks.{resolution}.conv0", f"convs.{2 * k}", (below, here))
        yield from _styled(config, f"synthesis.blocks.{resolution}.conv1", f"convs.{2 * k + 1}", (here, here))
    for k, resolution in enumerate(config.resolutions[1:]):
        yield from _to_rgb(config, resolution, f"to_rgbs.{k}")


def _styled(config: GeneratorConfig, ours: str, theirs: str, channels: tuple[int, int]) -> Iterator[Entry]:
    before, after = channels
    yield Entry(f"{ours}.weight", f"{theirs}.conv.weight", (1, after, before, 3, 3))
    yield Entry(f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight", (before, config.w_dim))
    yield Entry(f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias", (before,))
    yield Entry(f"{ours}.noise_strength", f"{theirs}.noise.weight", (1,))
    yield Entry(f"{ours}.bias", f"{theirs}.activate.bias", (after,))


def _to_rgb(config: GeneratorConfig, resolution: int, theirs: str) -> Iterator[Entry]:
    ours, channels = f"synthesis.blocks.{resolution}.to_rgb", config.channels(resolution)
    yield Entry(f"{ours}.bias", f"{theirs}.bias", (1, 3, 1, 1))
    yield Entry(f"{ours}.weight", f"{theirs}.conv.weight", (1, 3, channels, 1, 1))
    yield Entry(f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight", (channels, config.w_dim))
    yield Entry(f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias", (channels,))


def noise_entries(config: GeneratorConfig) -> Iterator[Entry]:
    """Yield the stored noise maps; files older than these buffers lack all of them."""
    names = ["synthesis.blocks.4.conv1"]
    for resolution in config.resolutions[1:]:
        names += [f"synthesis.blocks.{resolution}.conv{j}" for j in (0, 1)]
    for i, name in enumerate(names):
        size = 2 ** ((i + 5) // 2)
        yield Entry(f"{name}.noise_const", f"noises.noise_{i}", (1, 1, size, size))


def generator_kernels(config: GeneratorConfig) -> dict[str, float]:
    """Return the names of the constant filter buffers of their generator, with the sum of each."""
    ups = range(len(config.resolutions) - 1)
    return {f"convs.{2 * k}.conv.blur.kernel": 4.0 for k in ups} | {f"to_rgbs.{k}.upsample.kernel": 4.0 for k in ups}


def discriminator_entries(config: DiscriminatorConfig) -> Iterator[Entry]:
    """Yield every parameter of their discriminator, in the order of their state dict."""
    first, top = config.channels(config.resolution), config.channels(4)
    yield Entry("from_rgb.weight", "convs.0.0.weight", (first, 3, 1, 1))
    yield Entry("from_rgb.bias", "convs.0.1.bias", (first,))
    for k, resolution in enumerate(config.resolutions, start=1):
        ours, before, after = f"blocks.{resolution}", config.channels(resolution), config.channels(resolution // 2)
        yield Entry(f"{ours}.conv0.weight", f"convs.{k}.conv1.0.weight", (before, before, 3, 3))
        yield Entry(f"{ours}.conv0.bias", f"convs.{k}.conv1.1.bias", (before,))
        yield Entry(f"{ours}.conv1.weight", f"convs.{k}.conv2.1.weight", (after, before, 3, 3))
        yield Entry(f"{ours}.conv1.bias", f"convs.{k}.conv2.2.bias", (after,))
        yield Entry(f"{ours}.skip", f"convs.{k}.skip.1.weight", (after, before, 1, 1))
    yield Entry("conv.weight", "final_conv.0.weight", (top, top + 1, 3, 3))
    yield Entry("conv.bias", "final_conv.1.bias", (top,))
    yield Entry("fc.weight", "final_linear.0.weight", (top, top * 16))
    yield Entry("fc.bias", "final_linear.0.bias", (top,))
    yield Entry("out.weight", "final_linear.1.weight", (1, top))
    yield Entry("out.bias", "final_linear.1.bias", (1,))


def discriminator_kernels(config: DiscriminatorConfig) -> dict[str, float]:
    """Return the names of the constant filter buffers of their discriminator, with the sum of each."""
    blocks = range(1, len(config.resolutions) + 1)
    return {f"convs.{k}.{part}.0.kernel": 1.0 for k in blocks for part in ("conv2", "skip")}


def kernel(total: float) -> Tensor:
    """Return the 4x4 filter as they store it, ``total`` being the sum of its taps."""
    taps = torch.tensor(TAPS, dtype=torch.float32)
    square = torch.outer(taps, taps)
    return square / square.sum() * total
