"""The ink style: black brush lines on paper, screentone and hatching for shadow, solid blacks, tall glossy eyes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from model.data.synthetic.attributes import FaceAttributes
from model.data.synthetic.curves import Points
from model.data.synthetic.drawn import INK, Figure, chin_shadow, eye, figure, gloss, nose_line, strands
from model.data.synthetic.palette import luma, palette
from model.data.synthetic.pen import Bytes, Pen
from model.data.synthetic.photo_features import glasses_bars, glasses_lens
from model.data.synthetic.tones import dots, hatching

Colour = tuple[int, int, int]
BLACK: Colour = (26, 24, 34)
PAPER: Colour = (250, 246, 236)
_BRUSH = 0.0150  # picture units; one pixel at 64 px
_FINE = 0.0095
_LOCKS = 2.5
_HATCH = 0.034


@dataclass(frozen=True)
class Tones:
    """How dark the parts of one face are printed: greys between `BLACK` and `PAPER`."""

    skin: Colour
    hair: Colour
    hair_line: Colour
    hair_gloss: Colour
    iris: Colour
    cloth: Colour
    wall: float  # 0 black .. 1 paper


def grey(level: float) -> Colour:
    """The mixture of ink (0) and paper (1)."""
    part = min(max(level, 0.0), 1.0)
    r, g, b = (int(dark + (light - dark) * part + 0.5) for dark, light in zip(BLACK, PAPER, strict=True))
    return r, g, b


def tones(attrs: FaceAttributes) -> Tones:
    """Translate colours to print; hair is pushed apart into black, grey and white as manga does."""
    base = palette(attrs)
    hair = float(np.clip((luma(base.hair) - 0.16) / 0.62, 0.0, 1.0))
    hair = hair * hair * (3.0 - 2.0 * hair)
    return Tones(
        skin=grey(0.82 + 0.18 * attrs.skin),
        hair=grey(0.02 + 0.68 * hair),
        hair_line=grey(0.42 if hair < 0.25 else 0.10),
        hair_gloss=grey(0.90 if hair < 0.6 else 1.0),
        iris=grey(0.10 + 0.42 * attrs.iris),
        cloth=grey(0.10 + 0.80 * attrs.cloth_shade),
        wall=0.32 + 0.40 * attrs.background_shade,
    )


def draw_ink(pen: Pen, attrs: FaceAttributes) -> None:
    """Draw head and shoulders over whatever is on the pen's picture."""
    fig = figure(attrs, INK, _LOCKS)
    print_tones = tones(attrs)
    hatch = hatching(pen, 0.40, _HATCH)
    _behind(pen, fig, print_tones, hatch)
    _head(pen, fig, print_tones, hatch)
    for side in (-1, 1):
        _eye(pen, fig, side, print_tones)
    _nose_and_mouth(pen, fig)
    if attrs.glasses:
        _glasses(pen, fig)
    _hair(pen, fig, print_tones, hatch)
    for side in (-1, 1):
        pen.fill(fig.face.brow(side), BLACK)


def _brush(pen: Pen, fig: Figure, shape: Points) -> None:
    """A closed outline that is heavier below and away from the light, like a brush stroke."""
    pen.line(shape, _BRUSH, BLACK, closed=True)
    pen.line(shape + np.array([0.0035 * fig.dark_side, 0.0035]), _BRUSH, BLACK, closed=True)


def _behind(pen: Pen, fig: Figure, print_tones: Tones, hatch: Bytes) -> None:
    """Back hair, neck, clothes and ears."""
    if fig.hair.long > 0.0:
        pen.fill(fig.back, print_tones.hair)
        pen.wash([fig.back], BLACK, pattern=hatch)
        _brush(pen, fig, fig.back)
    pen.fill(fig.neck, print_tones.skin)
    pen.wash([fig.neck, chin_shadow(fig)], BLACK, pattern=hatch)
    pen.line(fig.neck[[1, 2, 3]], _BRUSH, BLACK)
    pen.line(fig.neck[[0, 5, 4]], _BRUSH, BLACK)
    pen.fill(fig.body, print_tones.cloth)
    pen.wash([fig.body], BLACK, outside=fig.body - np.array([0.07 * fig.dark_side, -0.02]), pattern=hatch)
    _brush(pen, fig, fig.body)
    for side in (-1, 1):
        ear = fig.face.ear(side)
        pen.fill(ear, print_tones.skin)
        inner = ear.mean(axis=0) + (ear - ear.mean(axis=0)) * 0.5
        pen.wash([inner], BLACK, pattern=hatch)
        _brush(pen, fig, ear)


def _head(pen: Pen, fig: Figure, print_tones: Tones, hatch: Bytes) -> None:
    """The face; hatching on the shadow side and under the fringe, two strokes of blush on each cheek."""
    pen.fill(fig.outline, print_tones.skin)
    lit = fig.outline - np.array([(0.026 + 0.020 * abs(fig.attrs.light)) * fig.dark_side, 0.012])
    pen.wash([fig.outline], BLACK, outside=lit, pattern=hatch)
    pen.wash([fig.outline, fig.front + np.array([0.010 * fig.dark_side, 0.016])], BLACK, pattern=hatch)
    for side in (-1, 1):
        for shift in (-0.016, 0.006, 0.028):
            x = side * (0.150 + side * shift)
            pen.line(fig.face.on([(x + 0.007, 0.088), (x - 0.007, 0.112)]), 0.006, grey(0.35))
    _brush(pen, fig, fig.outline)


def _eye(pen: Pen, fig: Figure, side: int, print_tones: Tones) -> None:
    """A tall eye: black iris with a grey glow below, two glints, a heavy lash."""
    shapes = eye(fig.face, side)
    pen.fill(shapes.opening, grey(0.97))
    pen.wash([shapes.opening], grey(0.62), outside=shapes.opening + np.array([0.0, 0.020]))
    pen.wash([shapes.opening, shapes.iris], BLACK)
    pen.wash([shapes.opening, shapes.glow], print_tones.iris)
    pen.wash([shapes.opening, shapes.pupil], BLACK)
    for glint in shapes.glints:
        pen.fill(glint, PAPER)
    pen.fill(shapes.lash, BLACK)
    pen.line(shapes.lower, _FINE, BLACK)
    pen.line(shapes.fold, 0.006, BLACK)


def _nose_and_mouth(pen: Pen, fig: Figure) -> None:
    pen.line(nose_line(fig), 0.011, BLACK)
    upper, opening, lower = fig.face.mouth()
    if fig.attrs.mouth_open > 0.05:
        pen.fill(opening, BLACK)
        pen.wash([opening, opening + np.array([0.0, 0.034])], grey(0.55))
        pen.wash([opening], PAPER, outside=opening + np.array([0.0, 0.016 * fig.attrs.mouth_open + 0.004]))
        pen.line(opening, _FINE, BLACK, closed=True)
    pen.line(upper[17:], 0.0125, BLACK)
    low = lower[17:][5:12]
    pen.line(low + np.array([0.0, 0.004]), 0.007, grey(0.30))


def _hair(pen: Pen, fig: Figure, print_tones: Tones, hatch: Bytes) -> None:
    """Solid or toned hair with hatching away from the light, strands and a paper-white glint."""
    pen.fill(fig.front, print_tones.hair)
    pen.wash([fig.front], BLACK, outside=fig.front - np.array([0.050 * fig.dark_side, 0.014]), pattern=hatch)
    pen.wash([fig.front, gloss(fig)], print_tones.hair_gloss)
    for curve in strands(fig):
        pen.line(curve, 0.0085, print_tones.hair_line)
    _brush(pen, fig, fig.front)


def _glasses(pen: Pen, fig: Figure) -> None:
    for side in (-1, 1):
        lens = glasses_lens(fig.face, side, 1.06)
        pen.line(lens, 0.0165, BLACK, closed=True)
    for bar in glasses_bars(fig.face):
        pen.line(bar, 0.0145, BLACK)


def render_ink(attrs: FaceAttributes, size: int) -> Bytes:
    """The face in the standard framing on paper with a dotted wall, uint8 RGB ``[size, size, 3]``."""
    factor = 4 if size <= 96 else 2
    side = size * factor
    image = np.empty((side, side, 3), dtype=np.uint8)
    wall = tones(attrs).wall
    image[:] = grey(wall + 0.10)
    pen = Pen(image, 0.0, 0.0, float(side))
    fade = np.linspace(-0.05, 0.55, side, dtype=np.float32)[:, None]
    image[dots(pen, fade, 0.042) > 0] = grey(wall - 0.10)
    draw_ink(pen, attrs)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)
