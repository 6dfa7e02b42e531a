"""Geometric half of the discriminator's augmentation: one inverse affine map per image, resampled without aliasing.

An image is doubled with an orthogonal low-pass filter, sampled bilinearly and halved with the same filter; nothing
moved is nothing changed, because the filter is orthogonal. Beyond its edges the image goes on as its mirror image,
because sampling reflects positions: no padding to choose from the draws, no shape that depends on them, no grey rim.

Source: Karras et al. 2020 (ADA), appendix B; Daubechies 1992 (Ten lectures on wavelets), table 6.3, for the filter.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Least-asymmetric ("sym6") low-pass filter, scaled to unit sum; even and odd taps then sum to 1/2 each.
SYM6 = tuple(
    tap / math.sqrt(2.0)
    for tap in (
        0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
        0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
        -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
    )
)  # fmt: skip
# px. The filter is not symmetric: the middle of the doubled image is 0.2 px off the array's. Turning about the former
# keeps flips and rotations from shifting the picture by 0.4 px; at exactly 1/4 px flips and quarter turns hit samples.
CENTRE = -0.25
EDGE = 3  # px that the filter reaches over the edge of the image
_REFLECT = 2  # ATen's code for padding_mode="reflection" (0 is bilinear, its code for the interpolation)


def identity(n: int) -> Tensor:
    """Return ``n`` identity maps ``[n, 3, 3]``, float64."""
    return torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Return maps that move by ``x``, ``y`` px (each ``[N]``), ``[N, 3, 3]``."""
    out = identity(len(x))
    out[:, 0, 2], out[:, 1, 2] = x, y
    return out


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return maps that stretch about the centre by the factors ``x``, ``y`` (each ``[N]``), ``[N, 3, 3]``."""
    out = identity(len(x))
    out[:, 0, 0], out[:, 1, 1] = x, y
    return out


def rotation(angle: Tensor) -> Tensor:
    """Return maps that turn about the centre by ``angle [N]`` (radian, from x towards y), ``[N, 3, 3]``."""
    out = identity(len(angle))
    cos, sin = torch.cos(angle), torch.sin(angle)
    out[:, 0, 0], out[:, 0, 1], out[:, 1, 0], out[:, 1, 1] = cos, -sin, sin, cos
    return out


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Resample every image by its own affine map; differentiable any number of times with respect to ``images``.

    Args:
        images: ``[N, C, H, W]``, at least 4 px each way.
        inverse: ``[N, 3, 3]`` on the CPU, from an output position to the position in the image it shows; px from the
            image's centre, x to the right, y down.

    Returns: ``[N, C, H, W]``. Images whose map is the identity are returned as they are, and cost nothing.
    """
    moved = (inverse != torch.eye(3, dtype=inverse.dtype)).flatten(1).any(1).nonzero()[:, 0]
    if len(moved) == 0:
        return images
    if len(moved) == len(images):
        return _resample(images, inverse)
    rows = moved.to(images.device)
    return images.index_copy(0, rows, _resample(images[rows], inverse[moved]))


def _resample(images: Tensor, inverse: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    x = images.contiguous(memory_format=torch.channels_last)
    across, down = _kernels(channels, images.dtype, images.device)
    # Doubled image: pixel i of the image is centred on sample 2 i + 1/2, as pixel centres have it.
    crop = 2 * EDGE + len(SYM6) // 2 - 1
    x = F.pad(x, (EDGE, EDGE, EDGE, EDGE), mode="reflect")
    x = F.conv_transpose2d(x, across, stride=(1, 2), padding=(0, crop), groups=channels)
    x = F.conv_transpose2d(x, down, stride=(2, 1), padding=(crop, 0), groups=channels)
    theta = _grid(inverse, height, width).to(images.device, images.dtype)
    rim = len(SYM6) - 2  # samples around the result that the filter needs to halve it
    grid = F.affine_grid(theta, [n, channels, 2 * height + rim, 2 * width + rim], align_corners=False)
    x = _Sample.apply(x, grid)
    x = F.conv2d(x, across, stride=(1, 2), groups=channels)
    return F.conv2d(x, down, stride=(2, 1), groups=channels)


def _grid(inverse: Tensor, height: int, width: int) -> Tensor:
    """Return ``inverse [N, 3, 3]`` for ``affine_grid``, ``[N, 2, 3]``: [-1, 1] over result with rim and over image."""
    half = torch.tensor([width / 2, height / 2], dtype=inverse.dtype)
    reach = half + (len(SYM6) - 2) / 4
    centre = torch.full((len(inverse),), CENTRE, dtype=inverse.dtype)
    inverse = translation(centre, centre) @ inverse @ translation(-centre, -centre)
    return torch.cat([inverse[:, :2, :2] * reach, inverse[:, :2, 2:]], 2) / half[:, None]


@lru_cache(maxsize=8)
def _kernels(channels: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the filter along x and along y, depthwise; sqrt 2 each way makes doubling and halving inverse."""
    taps = torch.tensor(SYM6, dtype=torch.float64).mul(math.sqrt(2.0)).to(device, dtype)
    across = taps.expand(channels, 1, 1, -1).contiguous()
    return across, across.transpose(2, 3).contiguous()


class _Sample(torch.autograd.Function):
    """Bilinear sampling as a linear function of the image, whose gradient is again differentiable.

    PyTorch's own ``grid_sample`` has a second derivative only in some releases, and also computes the grid's gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = x.shape
        return F.grid_sample(x, grid, "bilinear", "reflection", align_corners=False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(grad, grid, ctx.shape), None


class _Scatter(torch.autograd.Function):
    """The transpose of :class:`_Sample`."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        like = grad.new_empty(shape)
        out: Tensor = torch.ops.aten.grid_sampler_2d_backward(grad, like, grid, 0, _REFLECT, False, [True, False])[0]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(grad, grid), None, None
