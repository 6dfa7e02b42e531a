"""Screentone: dots and hatching as masks, as manga artists paste them over their lines."""

from __future__ import annotations

import numpy as np

from model.data.synthetic.attributes import Floats
from model.data.synthetic.pen import Bytes, Pen


def _phase(pen: Pen, pitch: float) -> tuple[Floats, Floats]:
    """Angles along the two axes of the pen's picture, one turn per ``pitch`` picture units."""
    height, width = pen.image.shape[:2]
    step = 2.0 * np.pi / (pitch * pen.unit)
    x = (np.arange(width, dtype=np.float32) - np.float32(pen.left)) * np.float32(step)
    y = (np.arange(height, dtype=np.float32) - np.float32(pen.top)) * np.float32(step)
    return x, y


def dots(pen: Pen, level: Floats | float, pitch: float) -> Bytes:
    """Round dots on a diagonal grid, uint8 ``[H, W]`` 0 or 255.

    Args:
        pen: gives the size of the picture and where its grid starts.
        level: share of the area that is inked, 0..1; a number, a row ``[1, W]`` or a column ``[H, 1]``.
        pitch: distance between the rows of dots in picture units.
    """
    x, y = _phase(pen, 2.0 * pitch)
    screen = np.cos(y)[:, None] * np.cos(x)[None, :]  # the product of two cosines is a diagonal grid of hills
    return ((screen * 0.5 + 0.5) < level).astype(np.uint8) * np.uint8(255)


def hatching(pen: Pen, level: float, pitch: float) -> Bytes:
    """Diagonal lines rising to the right, uint8 ``[H, W]`` 0 or 255; ``level`` is the share that is inked."""
    x, y = _phase(pen, pitch * 2**0.5)
    wave = np.sin(x)[None, :] * np.cos(y)[:, None] + np.cos(x)[None, :] * np.sin(y)[:, None]  # sin(x + y)
    return np.asarray((wave < np.float32(-np.cos(np.pi * level))).astype(np.uint8) * np.uint8(255))
