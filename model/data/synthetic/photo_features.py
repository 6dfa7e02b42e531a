"""Eyes, brows, nose, mouth and glasses of the photograph."""

from __future__ import annotations

import numpy as np

from model.data.synthetic.curves import open_curve, ribbon
from model.data.synthetic.geometry import Face
from model.data.synthetic.palette import Palette
from model.data.synthetic.raster import Canvas, disc

_WHITE = np.array([0.90, 0.88, 0.86], dtype=np.float32)
_LASH = np.array([0.10, 0.07, 0.06], dtype=np.float32)
_TEETH = np.array([0.90, 0.88, 0.83], dtype=np.float32)
_MOUTH = np.array([0.26, 0.07, 0.08], dtype=np.float32)
_FRAME = np.array([0.10, 0.09, 0.10], dtype=np.float32)
_SHADOW = np.array([0.55, 0.40, 0.38], dtype=np.float32)


def paint_eyes(canvas: Canvas, face: Face, colours: Palette) -> None:
    """Eye whites, irises, pupils, highlights, lashes and the folds around them."""
    for side in (-1, 1):
        canvas.shade(canvas.mask(face.eye(side, 1.30), blur=0.012), _SHADOW, 0.55)
        opening = canvas.mask(face.eye(side), blur=0.002)
        inside = canvas.full(opening)
        canvas.paint(opening, _WHITE * np.float32(0.50) + colours.skin * np.float32(0.36))
        centre = face.pupil(side)
        radius = 0.0275 * (1 + 0.12 * face.attrs.eye_size)
        iris = canvas.mask(disc(centre, radius), blur=0.002).times(inside)
        canvas.paint(iris, colours.iris * np.float32(0.45))
        ring = canvas.mask(disc(centre + np.array([0.0, 0.003]), radius * 0.78), blur=0.003).times(inside)
        canvas.paint(ring, np.minimum(colours.iris * np.float32(1.12), 1.0))
        canvas.paint(canvas.mask(disc(centre, radius * 0.45), blur=0.002).times(inside), _LASH * np.float32(0.4))
        lid = face.lid(side)
        shadow = canvas.mask(ribbon(lid + np.array([0.0, 0.006]), np.full(len(lid), 0.020)), blur=0.005).times(inside)
        canvas.shade(shadow, _SHADOW, 0.85)
        glint = centre + np.array([0.008 * face.attrs.light + 0.002, -0.010])
        canvas.paint(canvas.mask(disc(glint, 0.0066), blur=0.0015), _WHITE + np.float32(0.08), 0.95)
        width = 0.0115 * np.sin(np.linspace(0.35, 2.5, len(lid))) ** 0.7
        canvas.paint(canvas.mask(ribbon(lid, width), blur=0.002), _LASH, 0.92)
        low = face.eye(side)[14:]
        canvas.shade(canvas.mask(ribbon(low, np.full(len(low), 0.005)), blur=0.002), _SHADOW, 0.55)
        crease = face.lid(side, raise_by=0.014)
        canvas.shade(canvas.mask(ribbon(crease, np.full(len(crease), 0.006)), blur=0.004), _SHADOW, 0.60)


def paint_brows(canvas: Canvas, face: Face, colours: Palette) -> None:
    """Soft tapered brows."""
    for side in (-1, 1):
        canvas.paint(canvas.mask(face.brow(side), blur=0.0035), colours.brow, 0.88)


def paint_nose(canvas: Canvas, face: Face, colours: Palette) -> None:
    """The shadow under the tip, the nostrils and a highlight; the bridge comes from the shading."""
    size = 1.0 + 0.28 * face.attrs.nose_size
    under = face.on(
        [(-0.036 * size, face.nose_y + 0.018), (0.0, face.nose_y + 0.026), (0.036 * size, face.nose_y + 0.018)], 0.035
    )
    spine = open_curve(under)
    drift = np.array([-0.010 * face.attrs.light, 0.008])
    canvas.shade(canvas.mask(ribbon(spine + drift, np.full(len(spine), 0.022)), blur=0.009), _SHADOW, 0.55)
    for side in (-1, 1):
        hole = face.spot(side * 0.018 * size, face.nose_y + 0.017, 0.042)
        canvas.shade(canvas.mask(disc(hole, 0.0085 * size, 0.55), blur=0.003), _SHADOW * np.float32(0.5), 0.75)
        wing = face.spot(side * 0.040 * size, face.nose_y + 0.006, 0.02)
        canvas.shade(canvas.mask(disc(wing, 0.008, 1.7), blur=0.006), _SHADOW, 0.24)
    shine = face.spot(0.004 * face.attrs.light, face.nose_y - 0.012, 0.06)
    canvas.paint(canvas.mask(disc(shine, 0.009, 1.3), blur=0.006), np.minimum(colours.skin * 1.25 + 0.1, 1.0), 0.30)


def paint_mouth(canvas: Canvas, face: Face, colours: Palette) -> None:
    """Lips, the dark opening, teeth when the mouth is open, and the fold between the lips."""
    upper, opening, lower = face.mouth()
    canvas.paint(canvas.mask(upper, blur=0.0035), colours.lips * np.float32(0.80), 0.9)
    canvas.paint(canvas.mask(lower, blur=0.0035), colours.lips, 0.9)
    gloss = lower[25:][8:9] * 0.45 + lower[8:9] * 0.55
    canvas.paint(canvas.mask(disc(gloss[0], 0.022, 0.28), blur=0.005), np.minimum(colours.lips * 1.3 + 0.12, 1.0), 0.45)
    if face.attrs.mouth_open > 0.05:
        hole = canvas.mask(opening, blur=0.002)
        canvas.paint(hole, _MOUTH)
        teeth = opening * np.array([1.0, 1.0]) - np.array([0.0, 0.013 * face.attrs.mouth_open])
        canvas.paint(canvas.mask(teeth, blur=0.002).times(canvas.full(hole)), _TEETH, 0.85)
    seam = upper[17:]
    thick = 0.006 * np.sin(np.linspace(0.25, np.pi - 0.25, len(seam))) ** 0.5
    canvas.shade(canvas.mask(ribbon(seam, thick), blur=0.0022), _SHADOW * np.float32(0.55), 0.85)


def paint_glasses(canvas: Canvas, face: Face) -> None:
    """A frame in front of the face, slightly dark lenses with a reflection."""
    lenses = [glasses_lens(face, side) for side in (-1, 1)]
    for lens in lenses:
        glass = canvas.mask(lens, blur=0.002)
        canvas.paint(glass, np.array([0.75, 0.82, 0.88], dtype=np.float32), 0.10)
        frame = ribbon(np.concatenate([lens, lens[:2]]), np.full(len(lens) + 2, 0.0125))
        canvas.shade(canvas.mask(frame + np.array([0.0, 0.010]), blur=0.006), _SHADOW, 0.30)
        canvas.paint(canvas.mask(frame, blur=0.0015), _FRAME, 0.95)
    for bar in glasses_bars(face):
        canvas.paint(canvas.mask(ribbon(bar, np.full(len(bar), 0.011)), blur=0.0015), _FRAME, 0.95)


def glasses_lens(face: Face, side: int, swell: float = 1.0) -> np.ndarray:
    """The outline of a lens, from round to rectangular, in picture coordinates ``[32, 2]``."""
    t = np.linspace(0.0, 2.0 * np.pi, 32, endpoint=False)
    square = 1.0 - 0.30 * (face.attrs.glasses_shape + 1.0)  # exponent: 1 round .. 0.4 rectangular
    c, s = np.cos(t), np.sin(t)
    x = 0.079 * swell * np.sign(c) * np.abs(c) ** square
    y = (0.071 - 0.009 * (face.attrs.glasses_shape + 1.0)) * swell * np.sign(s) * np.abs(s) ** square
    return face.on(np.stack([side * (face.eye_x + 0.004) + x, face.eye_y + 0.006 + y], axis=1), 0.025)


def glasses_bars(face: Face) -> list[np.ndarray]:
    """The bridge and the two temples as open curves in picture coordinates."""
    inner, outer = face.eye_x - 0.077, face.eye_x + 0.083
    y = face.eye_y - 0.004
    bridge = face.on(open_curve([(-inner, y), (0.0, y - 0.008), (inner, y)]), 0.03)
    bars = [bridge]
    for side in (-1, 1):
        start = face.spot(side * outer, y, 0.025)
        bars.append(np.stack([start, face.rim([(side * face.half_width * 1.01, y - 0.004, -0.03)])[0]]))
    return bars
