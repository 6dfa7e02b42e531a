"""Comic pages: panels with people, backgrounds and lettering, and where the faces on them are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from model.data.synthetic.attributes import PURPOSE_PAGE, FaceAttributes, sample_attributes, stream
from model.data.synthetic.flat import draw_flat
from model.data.synthetic.geometry import landmarks
from model.data.synthetic.ink import draw_ink
from model.data.synthetic.layout import PAGE_HEIGHT, PAGE_WIDTH, Panel, panels
from model.data.synthetic.lettering import Box, caption, sound, speak
from model.data.synthetic.pen import Bytes, Pen
from model.data.synthetic.scenery import THEMES, Theme, paint_clutter, paint_scenery

_SUPERSAMPLE = 2
_SMALLEST, _LARGEST = 112.0, 260.0  # px, side of the standard framing of a face on a page
_FACES_PER_PAGE = 16  # indices kept for the faces of one page
_CAST = 1 << 32  # pages cast their people far from the indices that photographs use
_DRAW: dict[str, Callable[[Pen, FaceAttributes], None]] = {"flat": draw_flat, "ink": draw_ink}


@dataclass(frozen=True)
class PlacedFace:
    """A face on a page and the square of the standard framing around it."""

    attrs: FaceAttributes
    box: tuple[int, int, int, int]  # x, y, width, height in px of the page; width = height


@dataclass(frozen=True)
class Page:
    """A comic page, uint8 RGB ``[H, W, 3]``, and its faces from the first panel to the last."""

    image: Bytes
    faces: list[PlacedFace]
    panels: list[Panel]


def comic_page(seed: int, index: int, style: str) -> Page:
    """Draw a portrait page of three to six panels with one or two faces each.

    Args:
        seed: which world, at least 0.
        index: which page, at least 0; the same arguments give the same page whatever was drawn before.
        style: "flat" or "ink".

    Raises: ValueError if the style is not a drawn one.
    """
    if style not in _DRAW:
        raise ValueError(f"comic_page: style is {style!r}, expected one of {', '.join(_DRAW)}")
    rng = stream(seed, PURPOSE_PAGE, index)
    theme = THEMES[style]
    page = np.empty((PAGE_HEIGHT, PAGE_WIDTH, 3), dtype=np.uint8)
    page[:] = theme.paper
    faces: list[PlacedFace] = []
    layout = panels(rng)
    for panel in layout:
        cast = [sample_attributes(seed, _CAST + index * _FACES_PER_PAGE + len(faces) + k) for k in range(2)]
        faces += _paint_panel(page, panel, style, cast, rng)
    _frame(page, layout, theme, index)
    return Page(page, faces, layout)


def _paint_panel(
    page: Bytes, panel: Panel, style: str, cast: list[FaceAttributes], rng: np.random.Generator
) -> list[PlacedFace]:
    """Draw one panel onto the page and return its faces."""
    x0, y0 = np.floor(panel.corners.min(axis=0)).astype(int).tolist()
    x1, y1 = np.ceil(panel.corners.max(axis=0)).astype(int).tolist()
    width, height = x1 - x0, y1 - y0
    theme = THEMES[style]
    image = np.empty((height * _SUPERSAMPLE, width * _SUPERSAMPLE, 3), dtype=np.uint8)
    pen = Pen(image, 0.0, 0.0, float(_SUPERSAMPLE))
    paint_scenery(pen, theme, rng)
    paint_clutter(pen, theme, rng)
    boxes = _stage(panel, rng, len(cast))
    placed = []
    for attrs, (x, y, side) in zip(cast, boxes, strict=False):  # a cramped panel has room for fewer
        ratio = float(_SUPERSAMPLE)
        _DRAW[style](Pen(image, (x - x0) * ratio, (y - y0) * ratio, side * ratio), attrs)
        placed.append(PlacedFace(attrs, (x, y, side, side)))
    _letter(pen, theme, rng, [(f.attrs, (f.box[0] - x0, f.box[1] - y0, f.box[2])) for f in placed])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    mask = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(mask, [np.rint(panel.corners - (x0, y0)).astype(np.int32)], 255)
    area = page[y0:y1, x0:x1]
    area[:] = cv2.copyTo(small, mask, area.copy())
    return placed


def _stage(panel: Panel, rng: np.random.Generator, most: int) -> list[tuple[int, int, int]]:
    """Framing squares (x, y, side) for one or two people who do not overlap and stand on the panel's lower edge."""
    width, height = panel.right - panel.left - 8.0, panel.bottom - panel.top - 8.0
    count = 1 if most < 2 or width < 2.3 * _SMALLEST or rng.random() < 0.35 else 2
    slot = width / count
    result = []
    for number in range(count):
        largest = min(_LARGEST, slot, height * 0.92)
        side = int(max(_SMALLEST, largest * float(rng.uniform(0.72, 1.0)))) if largest > _SMALLEST else int(largest)
        x = panel.left + 4.0 + slot * number + (slot - side) * float(rng.uniform(0.15, 0.85))
        lowest = panel.bottom - 4.0 - side
        highest = max(panel.top + 4.0, panel.bottom - 1.75 * side)
        y = lowest - (lowest - highest) * float(rng.uniform(0.0, 0.8))
        result.append((round(x), round(y), side))
    return result


def _letter(
    pen: Pen, theme: Theme, rng: np.random.Generator, people: list[tuple[FaceAttributes, tuple[int, int, int]]]
) -> None:
    """Balloons, a caption and a sound effect, all clear of the faces."""
    taken: list[Box] = [(x - 4.0, y - 12.0, side + 8.0, side + 12.0) for _, (x, y, side) in people]
    if rng.random() < 0.4:
        caption(pen, theme, rng, taken)
    for attrs, (x, y, side) in people:
        mouth = landmarks(attrs)[9:11].mean(axis=0).astype(np.float64) * side + (x, y)
        if rng.random() < 0.8:
            speak(pen, theme, rng, taken, mouth)
    if rng.random() < 0.45:
        sound(pen, theme, rng, taken)


def _frame(page: Bytes, layout: list[Panel], theme: Theme, index: int) -> None:
    """Panel borders and the page number."""
    pen = Pen(page, 0.0, 0.0, 1.0)
    for panel in layout:
        pen.line(panel.corners, 4.0, theme.line, closed=True)
    number, at = str(index + 1), (PAGE_WIDTH // 2 - 8, PAGE_HEIGHT - 10)
    cv2.putText(page, number, at, cv2.FONT_HERSHEY_DUPLEX, 0.5, theme.line, 1, cv2.LINE_AA)
