"""Colours of skin, hair, irises, clothes and backgrounds as RGB in [0, 1]."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from model.data.synthetic.attributes import FaceAttributes, Floats

_SKIN = (
    np.array([[104, 70, 54], [138, 94, 70], [174, 122, 90], [206, 155, 121], [230, 183, 150], [246, 211, 186]]) / 255.0
)
_ASH = np.array([[22, 20, 22], [52, 42, 38], [92, 74, 60], [138, 114, 90], [188, 164, 128], [226, 208, 172]]) / 255.0
_WARM = np.array([[34, 20, 18], [78, 40, 26], [128, 62, 32], [172, 90, 42], [206, 136, 66], [232, 184, 108]]) / 255.0
_IRIS = np.array([[44, 26, 18], [82, 50, 28], [102, 86, 46], [70, 108, 74], [64, 108, 134], [70, 112, 168]]) / 255.0
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Palette:
    """The colours of one face, each float32 RGB ``[3]`` in [0, 1]."""

    skin: Floats
    hair: Floats
    iris: Floats
    lips: Floats
    cloth: Floats
    background: Floats
    brow: Floats


def _ramp(table: np.ndarray, position: float) -> Floats:
    steps = np.linspace(0.0, 1.0, len(table))
    return np.array([np.interp(position, steps, table[:, channel]) for channel in range(3)], dtype=np.float32)


def _hsv(hue: float, saturation: float, value: float) -> Floats:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), dtype=np.float32)


def luma(colour: Floats) -> float:
    """Perceived brightness of an RGB colour (ITU-R BT.601), in the colour's own unit."""
    return float(colour @ _LUMA)


def skin_tone(position: float) -> Floats:
    """Skin from deep (0) to light (1)."""
    return _ramp(_SKIN, position)


def _hair(attrs: FaceAttributes) -> Floats:
    if attrs.hair_dye > 0.0:
        return _hsv(attrs.hair_dye, 0.55, 0.35 + 0.55 * attrs.hair_shade)
    return _ramp(_ASH, attrs.hair_shade) * (1 - attrs.hair_warmth) + _ramp(_WARM, attrs.hair_shade) * attrs.hair_warmth


def palette(attrs: FaceAttributes) -> Palette:
    """The colours that the attributes describe, before any light falls on them."""
    skin = skin_tone(attrs.skin)
    hair = _hair(attrs)
    return Palette(
        skin=skin,
        hair=hair,
        iris=_ramp(_IRIS, attrs.iris),
        lips=skin * np.array([0.86, 0.60, 0.60], dtype=np.float32) + np.array([0.05, 0.0, 0.01], dtype=np.float32),
        cloth=_hsv(attrs.cloth_hue, 0.50, 0.25 + 0.62 * attrs.cloth_shade),
        background=_hsv(attrs.background_hue, 0.30, 0.28 + 0.60 * attrs.background_shade),
        brow=np.minimum(hair * 0.62, skin * 0.55).astype(np.float32),
    )
