"""The photograph: a soft studio portrait of the face that the attributes describe."""

from __future__ import annotations

import cv2
import numpy as np

from model.data.synthetic.attributes import PURPOSE_NOISE, FaceAttributes, Floats, stream
from model.data.synthetic.geometry import Face
from model.data.synthetic.hair import Hair
from model.data.synthetic.palette import Palette, palette
from model.data.synthetic.photo_features import paint_brows, paint_eyes, paint_glasses, paint_mouth, paint_nose
from model.data.synthetic.raster import Canvas, Patch
from model.data.synthetic.shading import lit_skin

_SUPERSAMPLE = 2  # the canvas; its masks are finer by another factor of two
_SHADOW = np.array([0.62, 0.46, 0.42], dtype=np.float32)
_STRANDS = 96


def render_photo(attrs: FaceAttributes, size: int) -> np.ndarray:
    """Draw the photograph of a face in the standard framing.

    Args:
        attrs: the face.
        size: side of the picture in px.

    Returns: uint8 RGB ``[size, size, 3]``; equal arguments give equal bytes.
    """
    rng = stream(attrs.seed, PURPOSE_NOISE, attrs.index)
    colours = palette(attrs)
    face = Face(attrs)
    hair = Hair(face, locks=1.0)
    canvas = Canvas(size * _SUPERSAMPLE)
    _background(canvas, colours, rng)
    strands = _strands(canvas.size, face, colours.hair, rng)
    _behind(canvas, face, hair, colours, strands)
    _head(canvas, face, hair, colours)
    paint_eyes(canvas, face, colours)
    paint_brows(canvas, face, colours)
    paint_nose(canvas, face, colours)
    paint_mouth(canvas, face, colours)
    if attrs.glasses:
        paint_glasses(canvas, face)
    canvas.paint(canvas.mask(hair.front(), blur=0.0035), strands)
    return _expose(canvas.image, size, rng)


def _background(canvas: Canvas, colours: Palette, rng: np.random.Generator) -> None:
    """A wall out of focus: a slope of light and a few large soft spots."""
    grid = np.linspace(-1.0, 1.0, 16, dtype=np.float32)
    slope = rng.uniform(-0.10, 0.10, 2)
    level = 1.0 + slope[0] * grid[None, :] + slope[1] * grid[:, None]
    for x, y, amount in zip(rng.uniform(-1, 1, 4), rng.uniform(-1, 1, 4), rng.uniform(-0.12, 0.12, 4), strict=True):
        level = level + amount * np.exp(-((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / 0.25)
    wall = (level[:, :, None] * colours.background).astype(np.float32)
    canvas.image = cv2.resize(wall, (canvas.size, canvas.size), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _strands(size: int, face: Face, hair: Floats, rng: np.random.Generator) -> Floats:
    """Hair colour for the whole canvas: strands that fan out from the parting, a sheen around the crown."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    crown = face.rim([(0.55 * face.half_width * face.attrs.parting, -0.40, -0.04)])[0]
    x, y = line[None, :] - np.float32(crown[0]), line[:, None] - np.float32(crown[1])
    fall = np.clip(y / 0.36, 0.02, 1.0)
    spread = np.sqrt(fall * (2.0 - fall))  # meridians of a dome seen from the front
    across = x / (0.30 * spread)
    across = across + (0.05 * face.attrs.hair_wave) * np.sin(y * 38.0)
    coarse, fine = rng.uniform(-1.0, 1.0, (2, _STRANDS)).astype(np.float32)
    where = np.asarray(np.clip(across * 0.22 + 0.5, 0.0, 1.0) * (_STRANDS - 2), dtype=np.float32)
    tone = np.float32(0.65) * _lookup(fine, where) + np.float32(0.75) * _lookup(coarse, where * np.float32(0.35))
    band = np.exp(-(((fall - 0.36 - 0.03 * tone) / 0.17) ** 2)) * (y < 0.36)
    side = np.exp(-(((across - 1.1 * face.attrs.light) / 0.9) ** 2))
    level = 0.74 + 0.13 * tone - 0.16 * np.clip(np.abs(across) - 0.6, 0.0, 1.0) + band * side * (0.38 + 0.12 * tone)
    gloss = (band * side * (0.09 + 0.03 * tone))[:, :, None]
    return np.asarray((level[:, :, None] * (hair + 0.02) + gloss).astype(np.float32))


def _lookup(table: Floats, where: Floats) -> Floats:
    """Smoothly interpolated one-dimensional noise."""
    cell = where.astype(np.int32)
    t = where - cell
    t = t * t * (3.0 - 2.0 * t)
    left = table[cell]
    return np.asarray(left + (table[cell + 1] - left) * t)


def _behind(canvas: Canvas, face: Face, hair: Hair, colours: Palette, strands: Floats) -> None:
    """Back hair, neck, clothes and ears, with the shadow that the head throws on them."""
    back = canvas.mask(hair.back(), blur=0.004)
    canvas.paint(back, strands * np.float32(0.55))
    neck, body = face.torso()
    level = 0.80 + 0.12 * face.attrs.light * np.linspace(-1, 1, canvas.size, dtype=np.float32)[None, :, None]
    ones = np.ones((canvas.size, 1, 1), dtype=np.float32)
    canvas.paint(canvas.mask(neck, blur=0.004), (ones * level) * colours.skin)
    cloth = canvas.mask(body, blur=0.003)
    canvas.paint(cloth, (ones * level) * colours.cloth)
    solid = np.maximum(canvas.full(canvas.mask(neck, body)), canvas.full(back))
    below = canvas.mask(face.outline() + np.array([-0.02 * face.attrs.light, 0.045]), blur=0.02)
    canvas.shade(below.times(solid), _SHADOW, 0.85)
    for side in (-1, 1):
        ear = face.ear(side)
        canvas.paint(canvas.mask(ear, blur=0.003), colours.skin * np.float32(0.80 + 0.12 * side * face.attrs.light))
        inner = ear.mean(axis=0) + (ear - ear.mean(axis=0)) * 0.5
        canvas.shade(canvas.mask(inner, blur=0.006), _SHADOW, 0.55)


def _head(canvas: Canvas, face: Face, hair: Hair, colours: Palette) -> None:
    """The shaded skin and the hair's contact shadow on it."""
    skin = canvas.mask(face.outline(), blur=0.0025)
    canvas.paint(skin, lit_skin(face, colours.skin, canvas.size))
    fringe = canvas.mask(hair.front(), blur=0.010)
    shadow = canvas.shifted(fringe, -0.014 * face.attrs.light, 0.018)
    canvas.shade(Patch(skin.rows, skin.columns, skin.alpha * shadow[skin.rows, skin.columns]), _SHADOW, 0.75)


def _expose(image: Floats, size: int, rng: np.random.Generator) -> np.ndarray:
    """Lens softness, a filmic shoulder, a vignette and sensor noise; then 8 bits."""
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    if size > 64:
        small = cv2.GaussianBlur(small, (0, 0), 0.4 * size / 128)
    line = np.linspace(-1.0, 1.0, size, dtype=np.float32) ** 2
    small = small * (1.02 - 0.07 * (line[None, :, None] + line[:, None, None]))
    noise = rng.standard_normal((size, size, 1), dtype=np.float32) + 0.4 * rng.standard_normal(
        (size, size, 3), dtype=np.float32
    )
    small = np.where(small > 0.8, 0.8 + 0.2 * np.tanh((small - 0.8) / 0.2), small) + 0.006 * noise
    return np.asarray(np.clip(small * 255.0 + 0.5, 0, 255).astype(np.uint8))
