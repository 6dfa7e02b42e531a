"""The StyleGAN2 generator: ``mapping(z) -> w`` and ``synthesis(ws) -> image``.

Source: Karras et al. 2020 (StyleGAN2), figure 7 (output skips) and section 2; config-e/f by ``channel_base``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from model.networks.layers import Linear, ModulatedConv, ToRgb, pixel_norm
from model.ops.fir import upsample

Noise = Sequence[Tensor | None]  # one map [N or 1, 1, R, R] per convolution: 4, 8, 8, 16, 16, ...


@dataclass(frozen=True)
class GeneratorConfig:
    """Architecture of a generator; it travels in the header of a checkpoint."""

    resolution: int  # px of the image, a power of two from 8 to 1024
    z_dim: int  # width of z
    w_dim: int  # width of w
    mapping_layers: int  # fully connected layers from z to w
    channel_base: int  # channels(r) = min(channel_base // r, channel_max); 32768 is config-f, 16384 config-e
    channel_max: int

    def __post_init__(self) -> None:
        """Refuse sizes that are no StyleGAN2."""
        if self.resolution not in {8, 16, 32, 64, 128, 256, 512, 1024}:
            raise ValueError(f"resolution: found {self.resolution}, expected a power of two from 8 to 1024")
        for name in ("z_dim", "w_dim", "mapping_layers", "channel_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at least 1")
        if self.channel_base < self.resolution:
            raise ValueError(
                f"channel_base: found {self.channel_base}, expected at least the resolution, {self.resolution}"
            )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sizes of the blocks, in px: 4, 8, ... resolution."""
        return tuple(2**k for k in range(2, self.resolution.bit_length()))

    @property
    def num_ws(self) -> int:
        """Style vectors per image: two per block, the last one shared with the next block."""
        return 2 * len(self.resolutions)

    def channels(self, resolution: int) -> int:
        """Channels of the features at ``resolution`` px."""
        return min(self.channel_base // resolution, self.channel_max)


class Mapping(nn.Module):
    """``z [N, z_dim] -> w [N, w_dim]``: pixel norm, then fully connected layers with learning rate multiplier 0.01."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        widths = [config.z_dim] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(Linear(a, b, lr_multiplier=0.01, activate=True) for a, b in pairwise(widths))

    def forward(self, z: Tensor) -> Tensor:
        """Return w for each z."""
        w = pixel_norm(z)
        for layer in self.layers:
            w = layer(w)
        return w


class SynthesisBlock(nn.Module):
    """One resolution: (upsampling convolution,) convolution, and the RGB output added to the upsampled RGB so far."""

    def __init__(self, config: GeneratorConfig, resolution: int) -> None:
        super().__init__()
        channels = config.channels(resolution)
        self.first_row = max(0, 2 * (resolution.bit_length() - 3) - 1)  # of ws used by this block
        if resolution > 4:
            self.conv0 = ModulatedConv(config.channels(resolution // 2), channels, config.w_dim, resolution, up=True)
        self.conv1 = ModulatedConv(channels, channels, config.w_dim, resolution, up=False)
        self.to_rgb = ToRgb(channels, config.w_dim)
        self.resolution = resolution

    def convs(self) -> list[ModulatedConv]:
        """Return the convolutions, in order."""
        return [self.conv1] if self.resolution == 4 else [self.conv0, self.conv1]

    def forward(self, x: Tensor, rgb: Tensor | None, ws: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return the features and the accumulated RGB at this resolution.

        Args:
            x: features of the block below (the learned constant at 4 px).
            rgb: accumulated RGB of the block below, None at 4 px.
            ws: the block's own style vectors ``[N, convs + 1, w_dim]``.
            noise: one map per convolution.
        """
        x = self.features(x, ws, noise)
        return x, self.add_rgb(x, rgb, ws)

    def features(self, x: Tensor, ws: Tensor, noise: Noise) -> Tensor:
        """Return the features at this resolution; arguments as in :meth:`forward`."""
        for row, conv in enumerate(self.convs()):
            x = conv(x, ws[:, row], noise[row])
        return x

    def add_rgb(self, x: Tensor, rgb: Tensor | None, ws: Tensor) -> Tensor:
        """Return the accumulated RGB at this resolution from the features ``x`` here and the RGB of the block below."""
        new: Tensor = self.to_rgb(x, ws[:, -1])
        return new if rgb is None else new + upsample(rgb)


@dataclass(frozen=True)
class BlockOutput:
    """What the synthesis knows after the block of ``resolution`` px."""

    resolution: int  # px
    features: Tensor  # [N, C, R, R], entering the block's ToRGB and the next block
    rgb: Tensor  # [N, 3, R, R], accumulated


class Synthesis(nn.Module):
    """``ws [N, num_ws, w_dim] -> image``; blocks are keyed by their resolution in px."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.activations: torch.dtype | None = None  # of the features; None is that of the parameters
        self.const = nn.Parameter(torch.randn(config.channels(4), 4, 4))
        self.blocks = nn.ModuleDict({str(r): SynthesisBlock(config, r) for r in config.resolutions})

    def block(self, resolution: int) -> SynthesisBlock:
        """Return the block of ``resolution`` px."""
        block = self.blocks[str(resolution)]
        assert isinstance(block, SynthesisBlock)
        return block

    def convs(self) -> list[ModulatedConv]:
        """Return all styled convolutions: the order of the noise maps."""
        return [conv for r in self.config.resolutions for conv in self.block(r).convs()]

    def const_noise(self) -> list[Tensor | None]:
        """Return the stored noise maps: the same picture every time."""
        return [conv.noise_const for conv in self.convs()]

    def no_noise(self) -> list[Tensor | None]:
        """Return no noise at all."""
        return [None for _ in self.convs()]

    def random_noise(self, n: int, generator: torch.Generator) -> list[Tensor | None]:
        """Draw fresh maps for ``n`` images."""
        maps = []
        for conv in self.convs():
            size = conv.noise_const.shape[-1]
            noise = torch.randn(n, 1, size, size, generator=generator, device=generator.device)
            maps.append(noise.to(conv.noise_const))
        return list(maps)

    def constant(self, n: int) -> Tensor:
        """Return the learned constant ``[N, C, 4, 4]``, which enters the block of 4 px."""
        x = self.const.to(self.activations or self.const.dtype, memory_format=torch.contiguous_format)
        return x[None].expand(n, -1, -1, -1)

    def walk(self, ws: Tensor, noise: Noise, after: BlockOutput | None = None) -> Iterator[BlockOutput]:
        """Run block by block: the one synthesis loop, used for images, taps, swaps and partial passes.

        Args:
            ws: style vectors ``[N, num_ws, w_dim]``; rows may differ (style mixing).
            noise: one map per convolution, see :meth:`const_noise`.
            after: go on after this block (of this or another generator) instead of starting from the constant.

        Yields: the features and accumulated RGB after each block; stop iterating to stop computing.
        Raises: ValueError if ``ws`` or ``noise`` have the wrong number of rows.
        """
        if ws.ndim != 3 or ws.shape[1:] != (self.config.num_ws, self.config.w_dim):
            wanted = f"[N, {self.config.num_ws}, {self.config.w_dim}]"
            raise ValueError(f"ws: found shape {list(ws.shape)}, expected {wanted} for {self.config.resolution} px")
        if len(noise) != self.config.num_ws - 1:
            raise ValueError(f"noise: found {len(noise)} maps, expected {self.config.num_ws - 1}")
        if after is None:
            x, rgb, start = self.constant(ws.shape[0]), None, 0
        else:
            x, rgb, start = after.features, after.rgb, after.resolution
        for resolution in (r for r in self.config.resolutions if r > start):
            block = self.block(resolution)
            row, convs = block.first_row, len(block.convs())
            x, rgb = block(x, rgb, ws[:, row : row + convs + 1], noise[row : row + convs])
            yield BlockOutput(resolution, x, rgb)

    def forward(self, ws: Tensor, noise: Noise) -> Tensor:
        """Return images ``[N, 3, R, R]``, about [-1, 1]."""
        last = deque(self.walk(ws, noise), maxlen=1)  # keeps no block output but the last
        return last[0].rgb


class Generator(nn.Module):
    """Mapping and synthesis, with the running mean of w."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis = Synthesis(config)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.w_avg: Tensor

    @property
    def num_ws(self) -> int:
        """Style vectors per image."""
        return self.config.num_ws

    def broadcast(self, w: Tensor) -> Tensor:
        """Repeat ``w [N, w_dim]`` to ``ws [N, num_ws, w_dim]``."""
        return w[:, None, :].expand(-1, self.num_ws, -1)
