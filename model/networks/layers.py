"""Layers with an equalised learning rate, modulated convolution, minibatch standard deviation.

Every stored weight is about N(0, 1) and is scaled by ``1 / sqrt(fan_in)`` in use (Karras et al. 2018, section 4.1).
Gains (the sqrt 2 of the activation, the 1 / sqrt 2 of residual sums) are folded into weights and biases: leaky ReLU is
positively homogeneous, so a gain in front of it costs no pass over the activations.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.ops.fir import low_pass

SLOPE = 0.2  # of the leaky ReLU
GAIN = math.sqrt(2.0)  # restores unit variance after the leaky ReLU
EPSILON = 1e-8


def pixel_norm(x: Tensor) -> Tensor:
    """Scale each vector of the last axis to unit mean square (Karras et al. 2018, section 4.2)."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


class Linear(nn.Module):
    """Fully connected layer with an equalised learning rate.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        bias: value the bias starts from.
        lr_multiplier: the weight is stored divided by it; the mapping network uses 0.01.
        activate: apply leaky ReLU with gain sqrt 2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: float = 0.0,
        lr_multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, in]`` to ``[N, out]``."""
        gain = GAIN if self.activate else 1.0
        y = F.linear(x, self.weight * (self.weight_gain * gain), self.bias * (self.bias_gain * gain))
        return F.leaky_relu(y, SLOPE) if self.activate else y


class Conv(nn.Module):
    """Plain convolution of the discriminator with an equalised learning rate, bias and leaky ReLU, stride 1.

    ``gain`` multiplies the output (after the activation).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.gain = gain * GAIN
        self.weight_gain = self.gain / math.sqrt(in_channels * kernel**2)

    def forward(self, x: Tensor, *, stride: int = 1, pad: int | None = None) -> Tensor:
        """Map ``[N, in, H, W]`` to ``[N, out, H', W']``; ``pad`` defaults to keeping the size."""
        pad = self.weight.shape[-1] // 2 if pad is None else pad
        weight, bias = (self.weight * self.weight_gain).to(x.dtype), (self.bias * self.gain).to(x.dtype)
        y = F.conv2d(x, weight, bias, stride=stride, padding=pad)
        return F.leaky_relu(y, SLOPE, inplace=True)


class ModulatedConv(nn.Module):
    """3x3 convolution whose input channels are scaled by a style, with demodulation, noise, bias and leaky ReLU.

    The weights are shared by the batch: the style scales the activations and the demodulation, one matrix product
    ``rsqrt(s^2 . sum W^2)``, scales the result. This equals per-sample weights, and keeps one dense convolution.

    Source: Karras et al. 2020, section 2.2, equations 1 and 3.
    """

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, *, up: bool) -> None:
        super().__init__()
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(1, 1, resolution, resolution))
        self.noise_const: Tensor
        self.up = up
        self.weight_gain = 1.0 / math.sqrt(in_channels * 9)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Map ``[N, in, H, W]`` with the style ``w [N, w_dim]`` to ``[N, out, H', W']``, doubled when ``up``.

        Args:
            x: features.
            w: style vector.
            noise: ``[N or 1, 1, H', W']``, scaled by the learned strength; None adds nothing.
        """
        style = self.affine(w)
        weight = self.weight * self.weight_gain
        demodulation = torch.rsqrt(style.square() @ weight.square().sum((2, 3)).t() + EPSILON) * GAIN
        x, weight = x * style.to(x.dtype)[:, :, None, None], weight.to(x.dtype)
        x = x.contiguous(memory_format=torch.channels_last)  # all layers above inherit the order; the constant has none
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # to 2H + 1, the filter makes it 2H
            x = low_pass(x, 1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=1)
        bias, demodulation = (self.bias * GAIN).to(x.dtype), demodulation.to(x.dtype)
        x = torch.addcmul(bias[None, :, None, None], x, demodulation[:, :, None, None])
        if noise is not None:
            x = x + (noise * (self.noise_strength * GAIN)).to(x.dtype)
        return F.leaky_relu(x, SLOPE, inplace=True)


class ToRgb(nn.Module):
    """Modulated 1x1 convolution to three channels, without demodulation, noise or activation, as a batched product."""

    def __init__(self, in_channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = Linear(w_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels))
        self.bias = nn.Parameter(torch.zeros(3))
        self.weight_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` with the style ``w [N, w_dim]`` to ``[N, 3, H, W]``, in the precision of ``w``."""
        n, c, height, width = x.shape
        weight = (self.weight * self.weight_gain) * self.affine(w)[:, None, :]  # [N, 3, C]
        pixels = x.permute(0, 2, 3, 1).reshape(n, height * width, c)
        rgb = torch.bmm(pixels, weight.transpose(1, 2).to(x.dtype)).to(w.dtype) + self.bias  # [N, H W, 3]
        return rgb.reshape(n, height, width, 3).permute(0, 3, 1, 2)


def stddev_group(n: int, group: int = 4) -> int:
    """Return how many of ``n`` images are compared with each other: the largest divisor of ``n`` up to ``group``."""
    return max(k for k in range(1, min(group, n) + 1) if n % k == 0)


def minibatch_stddev(x: Tensor, group: int = 4) -> Tensor:
    """Append one channel: the standard deviation over groups of the batch, averaged over everything else.

    Groups are strided through the batch (sample ``i`` belongs to group ``i mod N/group``). The group size is the
    largest divisor of N that is at most ``group``, which equals the usual rule wherever that rule is defined.

    Args:
        x: ``[N, C, H, W]``.
        group: largest group size.

    Returns: ``[N, C + 1, H, W]``.
    Source: Karras et al. 2018, section 3.
    """
    n, _, height, width = x.shape
    size = stddev_group(n, group)
    deviation = torch.sqrt(x.reshape(size, n // size, -1).var(0, unbiased=False) + EPSILON).mean(1)
    plane = deviation.repeat(size)[:, None, None, None].expand(n, 1, height, width)
    return torch.cat([x, plane], 1)
