"""How much a drawing still looks like its source: metrics over image pairs that no method is trained on.

Every function takes the source side first and returns one number per pair, so that means, intervals and paired
differences between methods all come from the same array.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Images = NDArray[np.uint8]  # [N, H, W, 3]
Values = NDArray[np.floating]
Floats = NDArray[np.float64]
PerPair = Floats  # [N]

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
SSIM_SIGMA = 1.5  # px; Wang et al. 2004
SSIM_RADIUS = 5  # px: an 11 x 11 window
EDGE_SIGMA_PER_PX = 1 / 128  # 2 px at 256 px, as the usual protocol, and the same share of the face at any size
BATCH = 64  # pairs whose pictures are in memory as floats at once
MAPS = 16  # of them, in one product: more leave the processor's cache
ROWS = 2048  # rows of a matrix of cosines held at once
TIE = 1e-12  # cosines that differ by less are equal


def landmark_nme(source: Values, target: Values, eyes: tuple[int, int]) -> PerPair:
    """Normalised mean error: mean landmark distance over the distance between the eyes of the source.

    Args:
        source: points ``[N, L, 2]``.
        target: points ``[N, L, 2]``, same units.
        eyes: indices of the two eye centres.

    Returns: ``[N]``; 0 is the same place, 1 is one inter-ocular distance off.
    Raises: ValueError if shapes differ or two eyes coincide.
    """
    a, b = _same_shape(source, target, ndim=3)
    span = np.linalg.norm(a[:, eyes[0]] - a[:, eyes[1]], axis=1)
    if not (span > 0).all():
        raise ValueError(f"pair {int(np.argmin(span))}: the two eyes of the source coincide")
    error: PerPair = np.linalg.norm(a - b, axis=2).mean(axis=1) / span
    return error


def attribute_mse(source: Values, target: Values) -> PerPair:
    """Mean squared difference of normalised attributes ``[N, A]``, per pair ``[N]``; unrelated faces score about 2."""
    a, b = _same_shape(source, target, ndim=2)
    error: PerPair = ((a - b) ** 2).mean(axis=1)
    return error


def attribute_correlation(source: Values, target: Values) -> Floats:
    """Pearson correlation over pairs of each attribute ``[N, A]``; returns ``[A]``, 0 where one side is constant."""
    a, b = _same_shape(source, target, ndim=2)
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    spread = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    flat = np.zeros(a.shape[1])
    correlation: Floats = np.divide((a * b).sum(axis=0), spread, out=flat, where=spread > 0)
    return correlation


def cosine(source: Values, target: Values) -> PerPair:
    """Cosine between the features ``[N, d]`` of each pair, ``[N]``; 1 is the same direction.

    Features of zero length have no direction: their cosine with anything is 0.
    """
    a, b = _same_shape(source, target, ndim=2)
    cosines: PerPair = (_unit(a) * _unit(b)).sum(axis=1)
    return cosines


def retrieval_top1(source: Values, target: Values) -> PerPair:
    """Whether, among all sources, a drawing's own is the nearest by cosine: 1 or 0 per pair, ``[N]``.

    Needs no calibration: chance is 1 / N, whatever the extractor. A drawing as near to another source (up to
    round-off) is not found, so a generator that draws one face finds nobody.
    """
    a, b = (_unit(side) for side in _same_shape(source, target, ndim=2))
    found = []
    for start in range(0, len(b), ROWS):
        nearness = b[start : start + ROWS] @ a.T
        rows = np.arange(len(nearness))
        own = nearness[rows, start + rows]
        nearness[rows, start + rows] = -np.inf
        found.append(own > nearness.max(axis=1) + TIE)
    return np.concatenate(found).astype(np.float64)


def self_similarity(patches: Values) -> NDArray[np.float32]:
    """How alike an image's places are: cosines between all of its patches ``[N, P, d]``.

    Returns: the part above the diagonal, row by row, ``[N, P (P - 1) / 2]``: 130 kB per image for 256 patches, where
        the patches of a ViT-B take 786. A patch of zero length is like nothing (0).
    Raises: ValueError for fewer than two patches.
    """
    if patches.ndim != 3 or patches.shape[1] < 2:
        raise ValueError(f"expected patches [N, P, d] with at least 2 places, got {patches.shape}")
    above = np.triu_indices(patches.shape[1], k=1)
    cosines = np.empty((len(patches), len(above[0])), np.float32)
    for row, places in zip(cosines, patches, strict=True):  # one by one: nothing depends on the company
        unit = _unit(np.asarray(places, np.float64))
        row[:] = (unit @ unit.T)[above]
    return cosines


def selfsim(source: NDArray[np.float32], target: NDArray[np.float32]) -> PerPair:
    """Self-similarity distance: mean squared difference of the two matrices of cosines; 0 is the same structure.

    Blind to what a style changes everywhere alike, sees where things are.

    Args:
        source: result of :func:`self_similarity`, ``[N, P (P - 1) / 2]``.
        target: same shape.

    Returns: ``[N]``, over the whole ``P x P`` matrix, whose diagonal is 1 on both sides.
    Source: Tumanyan et al. 2022 (Splicing ViT features), equation 3, as a mean.
    """
    a, b = _same_shape(source, target, ndim=2)
    places = (1.0 + np.sqrt(1.0 + 8.0 * a.shape[1])) / 2.0
    distance: PerPair = 2.0 * ((a - b) ** 2).sum(axis=1) / places**2
    return distance


def lowres_rgb_mse(source: Images, target: Images, size: int) -> PerPair:
    """Mean squared RGB difference in [0, 1] after antialiased area averaging to ``size`` px; ``[N]``.

    A method trained with the structure loss optimises this number: it cannot rank that method.

    Raises: ValueError if ``size`` does not divide the image size.
    """
    a, b = (_shrink(side, size) for side in _same_images(source, target))
    error: PerPair = (a - b).square().mean(dim=(1, 2, 3)).numpy()
    return error


def edge_ssim(source: Images, target: Images) -> PerPair:
    """SSIM of the gradient magnitudes: same lines in the same places, whatever the colours; ``[N]``, 1 is equal.

    Luminance, Gaussian (2 px at 256 px), Sobel magnitude over its 99th percentile, then :func:`ssim`.
    """
    a, b = _same_images(source, target)
    return ssim(edges(a), edges(b))


def edges(images: Images) -> Tensor:
    """Gradient magnitude maps ``[N, 1, H, W]`` of ``images``, 99th percentile of each at 1, clipped to [0, 1]."""
    return torch.cat([_edges(torch.from_numpy(images[i : i + MAPS])) for i in range(0, len(images), MAPS)])


def _edges(images: Tensor) -> Tensor:
    luma = (images.double() / 255.0) @ torch.tensor(LUMA, dtype=torch.float64)
    sigma = images.shape[1] * EDGE_SIGMA_PER_PX
    smooth = _blur(functional.pad(luma[:, None], [_radius(sigma)] * 4, mode="replicate"), sigma, _radius(sigma))
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=torch.float64)
    kernels = torch.stack([sobel, sobel.T])[:, None]
    gradients = functional.conv2d(functional.pad(smooth, [1] * 4, mode="replicate"), kernels)
    magnitude = gradients.square().sum(dim=1, keepdim=True).sqrt()
    top = magnitude.flatten(1).quantile(0.99, dim=1).clamp_min(1e-12)
    return (magnitude / top[:, None, None, None]).clamp(max=1.0)


def ssim(a: Tensor, b: Tensor) -> PerPair:
    """Structural similarity of ``[N, 1, H, W]`` maps in [0, 1], averaged over positions whose window fits; ``[N]``.

    Raises: ValueError for maps smaller than the window of 11 px.
    Source: Wang et al. 2004, equation 13, Gaussian window of sigma 1.5 and population covariances.
    """
    if min(a.shape[-2:]) < 2 * SSIM_RADIUS + 1:
        raise ValueError(f"images of {a.shape[-2]} x {a.shape[-1]} px are smaller than the SSIM window of 11 px")
    parts = [_ssim(x, y) for x, y in zip(torch.split(a, MAPS), torch.split(b, MAPS), strict=True)]
    similarity: PerPair = torch.cat(parts).numpy()
    return similarity


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    mean_a, mean_b, aa, bb, ab = (_blur(x, SSIM_SIGMA, SSIM_RADIUS) for x in (a, b, a * a, b * b, a * b))
    c1, c2 = 0.01**2, 0.03**2
    covariance = ab - mean_a * mean_b
    variances = aa - mean_a.square() + bb - mean_b.square()
    luminance = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).mean(dim=(1, 2, 3))


def derangement(n: int, seed: int) -> NDArray[np.int64]:
    """A fixed permutation of ``n`` >= 2 that leaves nothing in place: the partners of the shuffled-pair floor."""
    if n < 2:
        raise ValueError(f"{n} image(s) cannot be paired with another one")
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(n)
    partners = np.empty(n, dtype=np.int64)
    partners[order] = np.roll(order, 1)  # one cycle through all, so no fixed point
    return partners


def lift(pair: float, shuffled: float, perfect: float) -> float:
    """Where a pair score lies between the shuffled floor (0) and a perfect score (1); comparable between metrics.

    Raises: ValueError if the floor is perfect already (the metric then says nothing).
    """
    if shuffled == perfect:
        raise ValueError("the shuffled-pair floor equals the perfect score: this metric cannot tell pairs apart")
    return (pair - shuffled) / (perfect - shuffled)


def _shrink(images: Images, size: int) -> Tensor:
    height, width = images.shape[1:3]
    if height != width or height % size:
        raise ValueError(f"images of {height} x {width} px cannot be averaged to {size} px squares")
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()  # sums of bytes are exact in float32
    return functional.avg_pool2d(planes, height // size).double() / 255.0


def _radius(sigma: float) -> int:
    return int(4.0 * sigma + 0.5)


def _blur(maps: Tensor, sigma: float, radius: int) -> Tensor:
    """Gaussian filter of ``[N, 1, H, W]`` without padding: the result is ``2 * radius`` px smaller."""
    # As two products with banded matrices: convolutions with one channel in float64 are several times slower.
    down, across = (_bands(size, sigma, radius).to(maps) for size in maps.shape[-2:])
    # Bands first: a product with one matrix on the right runs over all maps at once, and its last bits depend on them.
    return (across @ (down @ maps).mT).mT


def _bands(size: int, sigma: float, radius: int) -> Tensor:
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    rows = size - 2 * radius
    bands = torch.zeros(rows, size, dtype=torch.float64)
    for row in range(rows):
        bands[row, row : row + 2 * radius + 1] = torch.from_numpy(line / line.sum())
    return bands


def _unit(rows: Floats) -> Floats:
    """Rows ``[N, d]`` of length 1, or 0 where they were."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit


def _same_shape(a: Values, b: Values, ndim: int) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != ndim or first.shape != second.shape:
        raise ValueError(f"pairs need the same shape of {ndim} dimensions, got {first.shape} and {second.shape}")
    return first, second


def _same_images(a: Images, b: Images) -> tuple[Images, Images]:
    for images in (a, b):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"expected uint8 images [N, H, W, 3], got {images.dtype} {images.shape}")
    if a.shape != b.shape:
        raise ValueError(f"pairs need the same shape, got {a.shape} and {b.shape}")
    return a, b
