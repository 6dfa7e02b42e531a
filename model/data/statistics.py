"""What single images look like in numbers, and what many of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from model.data.images import UInt8

SHARPNESS_PX = 64  # sharpness depends on the size it is measured at


class Looks(NamedTuple):
    """Of one image."""

    mean: tuple[float, float, float]  # R, G, B, 0 to 255
    square: tuple[float, float, float]  # mean of the squares
    sharpness: float


class Colour(NamedTuple):
    """Over all pixels of many images: R, G, B, 0 to 255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def measure(image: UInt8) -> Looks:
    """Measure uint8 ``[S, S, 3]``.

    Sharpness is the variance of the Laplacian of the grey image at 64 px: near 0 is blurred, drawings reach thousands.
    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy".
    """
    picture = Image.fromarray(image)
    counts = np.array(picture.histogram(), dtype=np.float64).reshape(3, 256) / (image.shape[0] * image.shape[1])
    levels = np.arange(256.0)
    grey = picture.convert("L")
    if grey.width > SHARPNESS_PX:
        grey = grey.resize((SHARPNESS_PX, SHARPNESS_PX), Image.Resampling.LANCZOS)
    g = np.pad(np.asarray(grey, dtype=np.int32), 1, mode="reflect")
    edges = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return Looks(tuple((counts @ levels).tolist()), tuple((counts @ levels**2).tolist()), float(edges.var()))


def colour(looks: Sequence[Looks]) -> Colour:
    """Return mean and standard deviation over all pixels of equally large images."""
    mean = np.mean([look.mean for look in looks], axis=0)
    square = np.mean([look.square for look in looks], axis=0)
    return Colour(tuple(mean.tolist()), tuple(np.sqrt(np.maximum(square - mean**2, 0)).tolist()))


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return least, quartiles and greatest, by name."""
    names = ("min", "q25", "median", "q75", "max")
    found = np.quantile(np.asarray(values, dtype=np.float64), (0, 0.25, 0.5, 0.75, 1))
    return dict(zip(names, found.tolist(), strict=True))
