"""Which part of a page becomes the crop of a face: an upright square around it, or FFHQ's, turned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.data.faces.align import as_points, cut_quad, ffhq_quad, quad_side, share_outside
from model.data.faces.boxes import Box, Face, Points, cut_square, share_inside
from model.data.images import UInt8, resize


@dataclass(frozen=True)
class SquareFrame:
    """An upright square around the face box; any detector will do."""

    kind: Literal["square"]
    expand: float  # side of the square, in face boxes
    shift_down: float  # move of the square, in face boxes; negative is up (more hair)

    def __post_init__(self) -> None:
        """Refuse a square smaller than the face."""
        if self.expand < 1:
            raise ValueError(f"expand must be at least 1 (the face box itself), found {self.expand}")


@dataclass(frozen=True)
class FfhqFrame:
    """The square that FFHQ would cut, turned upright by the face's landmarks; for photographs above all."""

    kind: Literal["ffhq"]
    expand: float  # side of the square, in FFHQ's; 1 = as the source generator knows faces

    def __post_init__(self) -> None:
        """Refuse a square that shows no whole face, and one that shows hardly anything but surroundings."""
        if not 0.5 <= self.expand <= 3:
            raise ValueError(f"expand must be in [0.5, 3] (1 is FFHQ's own frame), found {self.expand}")


FrameSettings = SquareFrame | FfhqFrame


@dataclass(frozen=True)
class Framed:
    """The part of a page that a frame chooses."""

    square: Box  # upright; of a turned square the upright one of the same centre and size
    quad: Points | None  # corners of a turned one: top left, bottom left, bottom right, top right of the crop
    outside: float  # share of it that lies outside the page

    def cut(self, image: UInt8, resolution: int) -> UInt8:
        """Cut it out of uint8 ``[H, W, 3]`` and resize it to ``resolution`` px, antialiased."""
        if self.quad is None:
            return resize(cut_square(image, self.square), resolution)
        return cut_quad(image, np.array(self.quad), resolution)


def framed(face: Face, frame: FrameSettings, height: int, width: int) -> Framed | str:
    """Return what ``frame`` cuts around ``face`` on a page of ``height`` x ``width`` px, or why it can cut nothing."""
    if isinstance(frame, SquareFrame):
        square = square_around(face.box, frame.expand, frame.shift_down)
        return Framed(square, None, 1 - share_inside(square, height, width))
    if face.landmarks is None:
        return "no landmarks: the frame ffhq is made from eyes and mouth"
    try:
        quad = ffhq_quad(face.landmarks, frame.expand)
    except ValueError as error:
        return f"odd landmarks: {error}"
    side = round(quad_side(quad))
    x, y = quad.mean(0) - side / 2
    return Framed(Box(round(y), round(x), side, side), as_points(quad), share_outside(quad, height, width))


def square_around(box: Box, expand: float, shift_down: float) -> Box:
    """Return the square of side ``expand`` face boxes around ``box``, moved down by ``shift_down`` face boxes."""
    size = (box.width + box.height) / 2
    side = round(size * expand)
    left = round(box.x + box.width / 2 - side / 2)
    top = round(box.y + box.height / 2 + size * shift_down - side / 2)
    return Box(top, left, side, side)
