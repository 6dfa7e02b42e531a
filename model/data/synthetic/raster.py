"""Anti-aliased masks of polygons and the float canvas that they are painted on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from model.data.synthetic.attributes import Floats
from model.data.synthetic.curves import Points, circle

_SHIFT = 4  # fractional bits of cv2's polygon coordinates


@dataclass(frozen=True)
class Patch:
    """Coverage in [0, 1] of one rectangle of the canvas; everything outside it is 0."""

    rows: slice
    columns: slice
    alpha: Floats  # [h, w]

    def times(self, factor: Floats | float) -> Patch:
        """The same patch with its coverage multiplied by a number or by an array of the whole canvas."""
        scale = factor if isinstance(factor, float) else factor[self.rows, self.columns]
        return Patch(self.rows, self.columns, self.alpha * scale)


def fixed_point(points: Points) -> np.ndarray:
    """Pixel coordinates ``[N, 2]`` as the fixed-point integers that cv2 draws with ``shift=4``."""
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


class Canvas:
    """A square RGB picture in [0, 1] that shapes are blended into; masks are drawn at twice its resolution."""

    def __init__(self, size: int) -> None:
        """Make a black canvas of ``size`` px, which is [0, 1] in picture coordinates."""
        self.size = size
        self.image: Floats = np.zeros((size, size, 3), dtype=np.float32)

    def mask(self, *shapes: Points, blur: float = 0.0) -> Patch:
        """The coverage of closed ``shapes`` ``[N, 2]`` in picture coordinates.

        Args:
            shapes: polygons that are filled together (their union).
            blur: standard deviation of a Gaussian in picture units, 0 for a crisp edge.
        """
        sigma = blur * self.size
        margin = 1 + int(3 * sigma)
        every = np.concatenate(shapes) * self.size
        low = np.clip(np.floor(every.min(axis=0)).astype(int) - margin, 0, self.size - 1)
        high = np.clip(np.ceil(every.max(axis=0)).astype(int) + margin, low + 1, self.size)
        width, height = (high - low).tolist()
        fine = np.zeros((2 * height, 2 * width), dtype=np.uint8)
        for shape in shapes:
            cv2.fillPoly(fine, [fixed_point((shape * self.size - low) * 2.0 - 0.5)], 255, cv2.LINE_AA, _SHIFT)
        alpha = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        alpha *= 1.0 / 255.0
        if sigma > 0.25:
            alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), sigma), dtype=np.float32)
        return Patch(slice(low[1], high[1]), slice(low[0], high[0]), alpha)

    def paint(self, patch: Patch, colour: Floats, opacity: float = 1.0) -> None:
        """Blend a colour ``[3]`` or a canvas-sized picture ``[H, W, 3]`` in where the patch covers."""
        area = self.image[patch.rows, patch.columns]
        source = colour[patch.rows, patch.columns] if colour.ndim == 3 else colour
        weight = (patch.alpha * opacity)[:, :, None]
        area += (source - area) * weight

    def shade(self, patch: Patch, tint: Floats, opacity: float) -> None:
        """Darken towards ``area * tint`` (a shadow) where the patch covers."""
        area = self.image[patch.rows, patch.columns]
        area *= 1.0 - (1.0 - tint) * (patch.alpha * opacity)[:, :, None]

    def full(self, patch: Patch) -> Floats:
        """The patch as an array of the whole canvas, ``[H, W]``."""
        out = np.zeros((self.size, self.size), dtype=np.float32)
        out[patch.rows, patch.columns] = patch.alpha
        return out

    def shifted(self, patch: Patch, dx: float, dy: float) -> Floats:
        """The patch moved by (dx, dy) picture units, as an array of the whole canvas."""
        move = np.array([[1, 0, dx * self.size], [0, 1, dy * self.size]], dtype=np.float64)
        return cv2.warpAffine(self.full(patch), move, (self.size, self.size)).astype(np.float32)


def disc(centre: Points, radius: float, squash: float = 1.0) -> Points:
    """A circle, or an ellipse ``squash`` times as high as wide, ``[24, 2]``."""
    c, s = circle(24)
    return centre + radius * np.stack([c, squash * s], axis=1)
