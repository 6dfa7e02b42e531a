"""What is behind the people in a panel: gradients, speed lines, screentone, a city, a room, and small clutter."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from model.data.synthetic import flat, ink
from model.data.synthetic.attributes import Floats
from model.data.synthetic.curves import Points
from model.data.synthetic.pen import Bytes, Pen, rgb
from model.data.synthetic.raster import disc
from model.data.synthetic.tones import dots, hatching

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Theme:
    """What a drawn style does to everything that is not a face."""

    line: Colour
    paper: Colour
    accent: Colour
    caption: Colour
    tint: Callable[[float, float], Colour]  # (hue 0..1, value 0..1) -> colour
    walls: tuple[float, float]  # least and greatest value of a background; faces must stand out from it


def _tint_flat(hue: float, value: float) -> Colour:
    return rgb(colorsys.hsv_to_rgb(hue % 1.0, 0.50, min(1.0, value)))


def _tint_ink(hue: float, value: float) -> Colour:
    return ink.grey(value - 0.04 + 0.05 * (hue % 1.0))


THEMES = {
    "flat": Theme(flat.INK, (253, 250, 244), (244, 196, 48), (252, 236, 176), _tint_flat, (0.42, 0.76)),
    "ink": Theme(ink.BLACK, ink.PAPER, ink.PAPER, ink.grey(0.93), _tint_ink, (0.34, 0.62)),
}
"""The themes by the name of their drawn style."""


def paint_scenery(pen: Pen, theme: Theme, rng: np.random.Generator) -> None:
    """Cover the whole picture of ``pen`` (whose unit is one page px) with one kind of background."""
    hue, value = float(rng.random()), float(rng.uniform(*theme.walls))
    kinds = (_gradient, _speed_lines, _screentone, _city, _room, _stripes)
    kinds[int(rng.integers(len(kinds)))](pen, theme, rng, (hue, value))


def _gradient(pen: Pen, theme: Theme, rng: np.random.Generator, base: tuple[float, float]) -> None:
    hue, value = base
    top = np.array(theme.tint(hue, value * 0.75), dtype=np.float32)
    low = np.array(theme.tint(hue + float(rng.uniform(-0.12, 0.12)), value * 1.25), dtype=np.float32)
    height = pen.image.shape[0]
    part: Floats = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    pen.image[:] = (top + (low - top) * part).astype(np.uint8)[:, None, :]


def _speed_lines(pen: Pen, theme: Theme, rng: np.random.Generator, base: tuple[float, float]) -> None:
    """Wedges that run from the rim towards a point in the middle."""
    hue, value = base
    pen.image[:] = theme.tint(hue, value)
    height, width = _size(pen)
    focus = np.array([width * rng.uniform(0.35, 0.65), height * rng.uniform(0.4, 0.6)])
    reach = float(np.hypot(width, height))
    dark, light = theme.tint(hue, value * 0.62), theme.tint(hue, value * 1.22)
    angles = np.sort(rng.uniform(0.0, 2 * np.pi, 54))
    starts = rng.uniform(0.16, 0.34, 54) * reach
    for number, (angle, start) in enumerate(zip(angles.tolist(), starts.tolist(), strict=True)):
        way = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-way[1], way[0]]) * reach * 0.012
        pen.fill(np.stack([focus + way * start, focus + way * reach + across, focus + way * reach - across]),
                 dark if number % 2 else light)  # fmt: skip


def _screentone(pen: Pen, theme: Theme, rng: np.random.Generator, base: tuple[float, float]) -> None:
    """Dots that grow from one edge to the other."""
    hue, value = base
    pen.image[:] = theme.tint(hue, value * 1.12)
    height, width = pen.image.shape[:2]
    if rng.random() < 0.5:
        level: Floats = np.linspace(-0.05, 0.75, height, dtype=np.float32)[:, None]
    else:
        level = np.linspace(0.75, -0.05, width, dtype=np.float32)[None, :]
    _lay(pen, dots(pen, level, float(rng.uniform(6.0, 9.0))), theme.tint(hue, value * 0.80))


def _city(pen: Pen, theme: Theme, rng: np.random.Generator, base: tuple[float, float]) -> None:
    """Two rows of houses with lit windows."""
    hue, value = base
    _gradient(pen, theme, rng, (hue, value))
    height, width = _size(pen)
    for depth in (0, 1):
        wall = theme.tint(hue + 0.08 * depth, value * (0.82 - 0.26 * depth))
        window = theme.tint(0.13, min(1.0, value * 1.25))
        x = -float(rng.uniform(0.0, 30.0))
        while x < width:
            wide = float(rng.uniform(38.0, 80.0))
            top = height * float(rng.uniform(0.10, 0.42)) + 50.0 * depth
            pen.fill(_box(x, top, x + wide, height), wall)
            pen.line(_box(x, top, x + wide, height), 2.0, theme.line, closed=True)
            for row in range(int((height - top) / 24)):
                for column in range(int(wide / 18) - 1):
                    if rng.random() < 0.45:
                        left, up = x + 9 + 18 * column, top + 10 + 24 * row
                        pen.fill(_box(left, up, left + 8, up + 12), window)
            x += wide + float(rng.uniform(2.0, 12.0))


def _room(pen: Pen, theme: Theme, rng: np.random.Generator, base: tuple[float, float]) -> None:
    """A wall with a window or a picture, a shelf of books and a skirting."""
    hue, value = base
    pen.image[:] = theme.tint(hue, value)
    height, width = _size(pen)
    _lay(pen, hatching(pen, 0.12, 16.0), theme.tint(hue, value * 0.90))
    for _ in range(int(rng.integers(1, 4))):
        x, y = float(rng.uniform(0, width * 0.85)), float(rng.uniform(0, height * 0.5))
        wide, high = float(rng.uniform(50, 110)), float(rng.uniform(50, 110))
        frame = _box(x, y, x + wide, y + high)
        pen.fill(frame, theme.tint(hue + 0.45, min(1.0, value * 1.3)))
        pen.fill(_box(x + wide * 0.5, y, x + wide, y + high), theme.tint(hue + 0.5, value * 0.9))
        pen.line(frame, 4.0, theme.line, closed=True)
    shelf = height * float(rng.uniform(0.60, 0.75))
    x = float(rng.uniform(-20.0, 20.0))
    while x < width:
        wide, high = float(rng.uniform(9, 20)), float(rng.uniform(34, 62))
        book = _box(x, shelf - high, x + wide, shelf)
        pen.fill(book, theme.tint(float(rng.random()), value * float(rng.uniform(0.7, 1.2))))
        pen.line(book, 1.5, theme.line, closed=True)
        x += wide + 1.0 + (40.0 if rng.random() < 0.15 else 0.0)
    pen.fill(_box(-5, shelf, width + 5, shelf + 9), theme.tint(0.07, value * 0.6))
    pen.line(_box(-5, shelf, width + 5, shelf + 9), 2.0, theme.line, closed=True)


def _stripes(pen: Pen, theme: Theme, rng: np.random.Generator, base: tuple[float, float]) -> None:
    hue, value = base
    pen.image[:] = theme.tint(hue, value * 1.08)
    _lay(pen, hatching(pen, float(rng.uniform(0.35, 0.6)), float(rng.uniform(26, 60))), theme.tint(hue, value * 0.86))


def paint_clutter(pen: Pen, theme: Theme, rng: np.random.Generator) -> None:
    """A few outlined stars, bubbles and bolts; people are drawn over them."""
    height, width = _size(pen)
    for _ in range(int(rng.integers(2, 7))):
        centre = np.array([rng.uniform(0, width), rng.uniform(0, height)])
        size = float(rng.uniform(8.0, 22.0))
        shape = (_star, disc, _bolt)[int(rng.integers(3))](centre, size)
        pen.fill(shape, theme.tint(float(rng.random()), float(rng.uniform(0.5, 0.85))))
        pen.line(shape, 2.0, theme.line, closed=True)


def _star(centre: Points, size: float) -> Points:
    t = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2, 0.45, 1.0) * size
    return np.asarray(centre + np.stack([np.cos(t) * radius, np.sin(t) * radius], axis=1))


def _bolt(centre: Points, size: float) -> Points:
    shape = np.array([(0.2, -1.2), (-0.7, 0.15), (-0.1, 0.15), (-0.3, 1.2), (0.7, -0.25), (0.1, -0.25)])
    return np.asarray(centre + shape * size)


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float64)


def _lay(pen: Pen, pattern: Bytes, colour: Colour) -> None:
    fill = np.empty_like(pen.image)
    fill[:] = colour
    pen.image[:] = cv2.copyTo(fill, pattern, pen.image.copy())


def _size(pen: Pen) -> tuple[float, float]:
    """(height, width) of the picture in the pen's units."""
    return pen.image.shape[0] / pen.unit, pen.image.shape[1] / pen.unit
