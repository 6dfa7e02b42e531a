"""The StyleGAN2 discriminator: residual blocks down to 4 px, minibatch standard deviation, two linear layers.

Source: Karras et al. 2020 (StyleGAN2), figure 7 (residual nets) and section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.networks.layers import Conv, Linear, minibatch_stddev
from model.ops.fir import low_pass


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Architecture of a discriminator; it travels in the header of a checkpoint."""

    resolution: int  # px of the image
    channel_base: int  # channels(r) = min(channel_base // r, channel_max)
    channel_max: int

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Input sizes of the residual blocks, in px, from the image down to 8."""
        return tuple(2**k for k in range(self.resolution.bit_length() - 1, 2, -1))

    def channels(self, resolution: int) -> int:
        """Channels of the features at ``resolution`` px."""
        return min(self.channel_base // resolution, self.channel_max)


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the size: ``(main + skip) / sqrt 2``, the division folded into the weights.

    The skip path filters at stride 2 before its 1x1 convolution: the same numbers from a quarter of the work.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = Conv(in_channels, in_channels, 3)
        self.conv1 = Conv(in_channels, out_channels, 3, gain=1.0 / math.sqrt(2.0))
        self.skip = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.skip_gain = 1.0 / math.sqrt(2.0 * in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in, R, R]`` to ``[N, out, R/2, R/2]``."""
        skip = F.conv2d(low_pass(x, 1, down=2), (self.skip * self.skip_gain).to(x.dtype))
        main: Tensor = self.conv1(low_pass(self.conv0(x), 2), stride=2, pad=0)
        return main + skip


class Discriminator(nn.Module):
    """``images [N, 3, R, R] -> logits [N, 1]``; blocks are keyed by their input resolution in px."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.activations: torch.dtype | None = None  # of the blocks; None is that of the images
        top = config.channels(4)
        self.from_rgb = Conv(3, config.channels(config.resolution), 1)
        self.blocks = nn.ModuleDict(
            {str(r): DiscriminatorBlock(config.channels(r), config.channels(r // 2)) for r in config.resolutions}
        )
        self.conv = Conv(top + 1, top, 3)
        self.fc = Linear(top * 16, top, activate=True)
        self.out = Linear(top, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit per image; positive means "real"."""
        size = self.config.resolution
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise ValueError(f"images: found shape {list(images.shape)}, expected [N, 3, {size}, {size}]")
        x = images.contiguous(memory_format=torch.channels_last)
        x = self.from_rgb(x if self.activations is None else x.to(self.activations))
        for resolution in self.config.resolutions:
            x = self.blocks[str(resolution)](x)
        x = self.conv(minibatch_stddev(x.to(images.dtype)))
        logits: Tensor = self.out(self.fc(x.flatten(1)))
        return logits
