"""The flat style: areas of plain colour with one step of shadow, clean dark outlines and large eyes."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from model.data.synthetic.attributes import FaceAttributes, Floats
from model.data.synthetic.drawn import (
    FLAT,
    Figure,
    cheek,
    chin_shadow,
    eye,
    figure,
    gloss,
    lit_spots,
    nose_line,
    nose_wedge,
    strands,
)
from model.data.synthetic.palette import palette, skin_tone
from model.data.synthetic.pen import Bytes, Pen, rgb
from model.data.synthetic.photo_features import glasses_bars, glasses_lens

Colour = tuple[int, int, int]
INK: Colour = (38, 24, 32)
_WHITE: Colour = (255, 253, 250)
_OUTLINE = 0.0155  # picture units; one pixel at 64 px
_DETAIL = 0.0105
_LOCKS = 2.3


@dataclass(frozen=True)
class Paints:
    """The flat colours of one face."""

    skin: Colour
    skin_shade: Colour
    skin_light: Colour
    blush: Colour
    lips: Colour
    hair: Colour
    hair_shade: Colour
    hair_gloss: Colour
    eye_white: Colour
    eye_shade: Colour
    iris: Colour
    iris_dark: Colour
    cloth: Colour
    cloth_shade: Colour
    wall: Colour
    wall_light: Colour


def _vivid(colour: Floats, saturation: float, value: float) -> Floats:
    h, s, v = colorsys.rgb_to_hsv(*(float(c) for c in colour))
    return np.array(colorsys.hsv_to_rgb(h, min(1.0, s * saturation), min(1.0, v * value)), dtype=np.float32)


def paints(attrs: FaceAttributes) -> Paints:
    """Brighten and saturate the natural colours as print would."""
    base = palette(attrs)
    skin = _vivid(
        skin_tone(0.24 + 0.76 * attrs.skin), 1.04, 1.0 + 0.18 * (1.0 - attrs.skin)
    )  # outlines need light skin
    hair = _vivid(base.hair, 1.25, 1.06) + np.float32(0.02)
    iris = _vivid(base.iris, 1.35, 1.30)
    cloth = _vivid(base.cloth, 1.25, 1.05)
    wall = _vivid(base.background, 1.40, 0.92)
    white = np.ones(3, dtype=np.float32)
    return Paints(
        skin=rgb(skin),
        skin_shade=rgb(skin * np.array([0.86, 0.72, 0.72], dtype=np.float32)),
        skin_light=rgb(skin * 0.86 + white * 0.14),
        blush=rgb(skin * np.array([1.02, 0.62, 0.62], dtype=np.float32)),
        lips=rgb(skin * np.array([0.88, 0.52, 0.54], dtype=np.float32)),
        hair=rgb(hair),
        hair_shade=rgb(hair * np.array([0.70, 0.64, 0.70], dtype=np.float32)),
        hair_gloss=rgb(hair * 0.62 + white * 0.36),
        eye_white=rgb(white * 0.76 + skin * 0.22),
        eye_shade=rgb(white * 0.52 + skin * 0.24),
        iris=rgb(iris),
        iris_dark=rgb(iris * 0.42),
        cloth=rgb(cloth),
        cloth_shade=rgb(cloth * 0.76),
        wall=rgb(wall),
        wall_light=rgb(wall * 0.82 + white * 0.15),
    )


def _dim(colour: Colour, factor: float) -> Colour:
    r, g, b = (int(value * factor + 0.5) for value in colour)
    return r, g, b


def draw_flat(pen: Pen, attrs: FaceAttributes) -> None:
    """Draw head and shoulders over whatever is on the pen's picture."""
    fig = figure(attrs, FLAT, _LOCKS)
    colours = paints(attrs)
    _behind(pen, fig, colours)
    _head(pen, fig, colours)
    _features(pen, fig, colours)
    if attrs.glasses:
        _glasses(pen, fig)
    _hair(pen, fig, colours)
    for side in (-1, 1):  # over the fringe, as cartoons do
        pen.fill(fig.face.brow(side), _dim(colours.hair_shade, 0.50))


def _behind(pen: Pen, fig: Figure, colours: Paints) -> None:
    """Back hair, neck, clothes and ears."""
    if fig.hair.long > 0.0:
        pen.fill(fig.back, colours.hair_shade)
        pen.line(fig.back, _OUTLINE, INK, closed=True)
    pen.fill(fig.neck, colours.skin)
    pen.line(fig.neck[[1, 2, 3]], _OUTLINE, INK)
    pen.line(fig.neck[[0, 5, 4]], _OUTLINE, INK)
    pen.wash([fig.neck, chin_shadow(fig)], colours.skin_shade)
    pen.fill(fig.body, colours.cloth)
    pen.wash([fig.body], colours.cloth_shade, outside=fig.body - np.array([0.07 * fig.dark_side, -0.02]))
    pen.line(fig.body, _OUTLINE, INK, closed=True)
    for side in (-1, 1):
        ear = fig.face.ear(side)
        pen.fill(ear, colours.skin if side != fig.dark_side else colours.skin_shade)
        pen.line(ear, _OUTLINE, INK, closed=True)


def _head(pen: Pen, fig: Figure, colours: Paints) -> None:
    """The face, its shadow side, the fringe's shadow and the blush."""
    pen.fill(fig.outline, colours.skin)
    lit = fig.outline - np.array([(0.030 + 0.022 * abs(fig.attrs.light)) * fig.dark_side, 0.014])
    pen.wash([fig.outline], colours.skin_shade, outside=lit)
    for spot in lit_spots(fig.face):
        pen.wash([fig.outline, spot], colours.skin_light)
    drop = np.array([0.012 * fig.dark_side, 0.026])
    pen.wash([fig.outline, fig.front + drop], colours.skin_shade)
    for side in (-1, 1):
        pen.wash([cheek(fig.face, side)], colours.blush, 0.42)
    pen.line(fig.outline, _OUTLINE, INK, closed=True)


def _features(pen: Pen, fig: Figure, colours: Paints) -> None:
    """Eyes, nose and mouth."""
    for side in (-1, 1):
        _eye(pen, fig, side, colours)
    pen.wash([nose_wedge(fig)], colours.skin_shade)
    pen.line(nose_line(fig), _DETAIL, INK)
    upper, opening, lower = fig.face.mouth()
    if fig.attrs.mouth_open > 0.05:
        pen.fill(opening, (120, 34, 44))
        pen.wash([opening, opening + np.array([0.0, 0.030])], (222, 104, 104))
        pen.wash([opening], _WHITE, outside=opening + np.array([0.0, 0.016 * fig.attrs.mouth_open + 0.004]))
        pen.line(opening, _DETAIL, INK, closed=True)
    else:
        pen.wash([lower], colours.lips, 0.55)
    pen.line(upper[17:], 0.0125, INK)


def _eye(pen: Pen, fig: Figure, side: int, colours: Paints) -> None:
    """White, iris in two tones, pupil, two glints, a heavy upper lash and a light lower one."""
    shapes = eye(fig.face, side)
    pen.wash([fig.outline, fig.face.eye(side, 1.24) - np.array([0.0, 0.006])], colours.skin_shade)
    pen.fill(shapes.opening, colours.eye_white)
    pen.wash([shapes.opening], colours.eye_shade, outside=shapes.opening + np.array([0.0, 0.026]))
    pen.wash([shapes.opening, shapes.iris], INK)
    pen.wash([shapes.opening, _shrink(shapes.iris, 0.86)], colours.iris_dark)
    pen.wash([shapes.opening, shapes.glow], colours.iris)
    pen.wash([shapes.opening, shapes.pupil], INK)
    pen.line(shapes.lower, _DETAIL, INK)
    for glint in shapes.glints:
        pen.fill(glint, _WHITE)
    pen.fill(shapes.lash, INK)
    pen.line(shapes.fold, 0.006, colours.skin_shade)


def _shrink(shape: np.ndarray, factor: float) -> np.ndarray:
    middle = shape.mean(axis=0)
    return np.asarray(middle + (shape - middle) * factor)


def _hair(pen: Pen, fig: Figure, colours: Paints) -> None:
    """Cap, fringe and locks with a shadow side, a glint and strands."""
    pen.fill(fig.front, colours.hair)
    pen.wash([fig.front], colours.hair_shade, outside=fig.front - np.array([0.040 * fig.dark_side, 0.012]))
    for curve in strands(fig):
        pen.line(curve, 0.0075, colours.hair_shade)
    pen.wash([fig.front, gloss(fig)], colours.hair_gloss)
    pen.line(fig.front, _OUTLINE, INK, closed=True)


def _glasses(pen: Pen, fig: Figure) -> None:
    for side in (-1, 1):
        lens = glasses_lens(fig.face, side, 1.08)
        pen.wash([lens], (225, 240, 250), 0.16)
        pen.line(lens, 0.0165, INK, closed=True)
    for bar in glasses_bars(fig.face):
        pen.line(bar, 0.0145, INK)


def render_flat(attrs: FaceAttributes, size: int) -> Bytes:
    """The face in the standard framing before a plain two-tone wall, uint8 RGB ``[size, size, 3]``."""
    factor = 4 if size <= 96 else 2
    side = size * factor
    image = np.empty((side, side, 3), dtype=np.uint8)
    colours = paints(attrs)
    image[:] = colours.wall
    pen = Pen(image, 0.0, 0.0, float(side))
    slant = 0.5 + 0.25 * attrs.light
    pen.fill(
        np.array([[slant - 0.2, 0.0], [slant + 0.35, 0.0], [slant - 0.05, 1.0], [slant - 0.6, 1.0]]), colours.wall_light
    )
    draw_flat(pen, attrs)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)
