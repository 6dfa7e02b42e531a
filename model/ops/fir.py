"""The [1, 3, 3, 1] low-pass filter of StyleGAN2, always as a depthwise convolution.

A port that lays the channels out as ``N * C`` one-channel planes is an order of magnitude slower on a CPU; a depthwise
convolution in channels_last order is the fastest plain formulation. The filter brings its own derivatives (its
transpose, and itself again, any number of times): PyTorch's second derivative of a depthwise convolution goes
through the channels one by one for a gradient of the taps that nobody asked for, which costs R1 and path length dearly.

Source: Karras et al. 2020 (StyleGAN2), section 2.2 and appendix B; the taps are those of Karras et al. 2019.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = (1.0, 3.0, 3.0, 1.0)


@lru_cache(maxsize=64)
def _kernel(channels: int, gain: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    taps = torch.tensor(TAPS, dtype=torch.float64)
    square = torch.outer(taps, taps) / taps.sum() ** 2 * gain
    return square.to(device=device, dtype=dtype).expand(channels, 1, -1, -1).contiguous()


def low_pass(x: Tensor, pad: int, *, down: int = 1, gain: float = 1.0) -> Tensor:
    """Filter every channel and keep each ``down``-th sample.

    Args:
        x: ``[N, C, H, W]``.
        pad: zeros added on each side, px.
        down: stride; the samples that would be thrown away are never computed.
        gain: DC gain (4 after zero-stuffing by two in each direction).

    Returns: ``[N, C, (H + 2 pad - 4) // down + 1, ...]``.
    """
    filtered: Tensor = _Filter.apply(x, pad, down, gain)
    return filtered


def upsample(x: Tensor) -> Tensor:
    """Double the size of an image: zero-stuffing and low-pass with gain 4 in one transposed convolution.

    Args:
        x: ``[N, C, H, W]``.

    Returns: ``[N, C, 2 H, 2 W]``.
    """
    doubled: Tensor = _Transposed.apply(x, 1, 2, 4.0, (2 * x.shape[2], 2 * x.shape[3]))
    return doubled


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, pad: int, down: int, gain: float) -> Tensor:
        ctx.settings = (pad, down, gain, tuple(x.shape[2:]))
        kernel = _kernel(x.shape[1], gain, x.dtype, x.device)
        return F.conv2d(x, kernel, stride=down, padding=pad, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _Transposed.apply(gradient, *ctx.settings), None, None, None


class _Transposed(torch.autograd.Function):
    """The transpose of :class:`_Filter`, to images of ``size`` (H, W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pad: int, down: int, gain: float, size: tuple[int, int]) -> Tensor:
        ctx.settings = (pad, down, gain)
        kernel = _kernel(x.shape[1], gain, x.dtype, x.device)
        if down == 1 and pad < len(TAPS):  # symmetric taps: the same filter, otherwise padded, and a faster kernel
            return F.conv2d(x, kernel, padding=len(TAPS) - 1 - pad, groups=x.shape[1])
        rest = [whole - (part - 1) * down - len(TAPS) + 2 * pad for whole, part in zip(size, x.shape[2:], strict=True)]
        return F.conv_transpose2d(x, kernel, None, down, pad, rest, x.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return _Filter.apply(gradient, *ctx.settings), None, None, None, None
