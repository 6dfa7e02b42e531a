"""Filled shapes, outlines and clipped washes on an 8-bit picture; edges are smoothed by drawing at a larger size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.data.synthetic.attributes import Floats
from model.data.synthetic.curves import Points
from model.data.synthetic.raster import fixed_point

_SHIFT = 4
Bytes = NDArray[np.uint8]


def rgb(colour: Floats | Sequence[float]) -> tuple[int, int, int]:
    """An RGB colour in [0, 1] as the 8-bit numbers that cv2 draws with."""
    r, g, b = (int(min(max(float(value), 0.0), 1.0) * 255.0 + 0.5) for value in colour)
    return r, g, b


@dataclass(frozen=True)
class Pen:
    """Draws shapes in picture coordinates onto ``image`` (uint8 RGB ``[H, W, 3]``, changed in place)."""

    image: Bytes
    left: float  # px of the image where picture coordinate x = 0 is
    top: float
    unit: float  # px of the image that one picture unit takes

    def _pixels(self, points: Points) -> np.ndarray:
        return fixed_point(points * self.unit + (self.left - 0.5, self.top - 0.5))

    def fill(self, shape: Points, colour: tuple[int, int, int]) -> None:
        """Fill a closed shape."""
        cv2.fillPoly(self.image, [self._pixels(shape)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, path: Points, width: float, colour: tuple[int, int, int], closed: bool = False) -> None:
        """Draw a line of ``width`` picture units, at least one pixel of the image."""
        thick = max(1, int(width * self.unit + 0.5))
        cv2.polylines(self.image, [self._pixels(path)], closed, colour, thick, cv2.LINE_AA, _SHIFT)

    def wash(
        self,
        inside: Sequence[Points],
        colour: tuple[int, int, int],
        opacity: float = 1.0,
        outside: Points | None = None,
        pattern: Bytes | None = None,
    ) -> None:
        """Lay ``colour`` where all shapes of ``inside`` overlap.

        Args:
            inside: closed shapes.
            colour: what to lay.
            opacity: 1 covers what was there.
            outside: a closed shape that is spared.
            pattern: uint8 ``[H, W]`` like the image; only where it is not 0 is anything laid.
        """
        box = self._box(inside)
        if box is None:
            return
        x0, y0, x1, y1 = box
        mask: np.ndarray = self._mask(inside[0], box)
        for shape in inside[1:]:
            mask = cv2.bitwise_and(mask, self._mask(shape, box))
        if outside is not None:
            mask = cv2.bitwise_and(mask, cv2.bitwise_not(self._mask(outside, box)))
        if pattern is not None:
            mask = cv2.bitwise_and(mask, pattern[y0:y1, x0:x1])
        area = self.image[y0:y1, x0:x1]
        ink = np.empty_like(area)
        ink[:] = colour
        if opacity < 1.0:
            ink = cv2.addWeighted(area, 1.0 - opacity, ink, opacity, 0.0).astype(np.uint8)
        area[:] = cv2.copyTo(ink, mask, area.copy())

    def _box(self, shapes: Sequence[Points]) -> tuple[int, int, int, int] | None:
        """The pixels that all shapes may touch, or None when they share none."""
        low = np.max([shape.min(axis=0) for shape in shapes], axis=0) * self.unit + (self.left, self.top)
        high = np.min([shape.max(axis=0) for shape in shapes], axis=0) * self.unit + (self.left, self.top)
        height, width = self.image.shape[:2]
        x0, y0 = max(0, int(low[0]) - 1), max(0, int(low[1]) - 1)
        x1, y1 = min(width, int(high[0]) + 2), min(height, int(high[1]) + 2)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _mask(self, shape: Points, box: tuple[int, int, int, int]) -> Bytes:
        x0, y0, x1, y1 = box
        mask = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
        pixels = fixed_point(shape * self.unit + (self.left - 0.5 - x0, self.top - 0.5 - y0))
        cv2.fillPoly(mask, [pixels], 255, cv2.LINE_8, _SHIFT)
        return mask
