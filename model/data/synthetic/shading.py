"""Light on the head: a height map of the face, its normals, and what a key and a fill light make of them."""

from __future__ import annotations

import math

import cv2
import numpy as np

from model.data.synthetic.attributes import Floats
from model.data.synthetic.curves import Points
from model.data.synthetic.geometry import Face

_RIM = 0.14
_GRID = 128  # shading is smooth, so it is computed once at this size and stretched


def _axes(centre: Points) -> tuple[Floats, Floats]:
    line = ((np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID).astype(np.float32)
    return line[None, :] - np.float32(centre[0]), line[:, None] - np.float32(centre[1])


def _blob(height: Floats, at: Points, amount: float, wide: float, high: float) -> None:
    """Add a separable Gaussian bump."""
    x, y = _axes(at)
    column = np.exp(-((x / wide) ** 2)).astype(np.float32)
    row = (amount * np.exp(-((y / high) ** 2))).astype(np.float32)
    height += row * column


def _ridge(height: Floats, start: Points, stop: Points, amount: float, wide: float) -> None:
    """Add a bump along a segment that grows from its start to its stop (the bridge of the nose)."""
    x, y = _axes(start)
    way = (stop - start).astype(np.float32)
    along = np.clip((x * way[0] + y * way[1]) / float(way @ way), 0.0, 1.0)
    square = (x - along * way[0]) ** 2 + (y - along * way[1]) ** 2
    spread = wide * (0.75 + 0.35 * along)
    height += (amount * (0.22 + 0.78 * along**1.5) * np.exp(-square / spread**2)).astype(np.float32)


def face_height(face: Face) -> Floats:
    """Height of the face over the picture plane in picture units, float32 ``[128, 128]``."""
    turn = 0.45 * face.spot(0.0, 0.03) + 0.55 * face.rim([(0.0, 0.03, 0.05)])[0]
    x, y = _axes(turn)
    reach = 1.16 * face.half_width + 0.035 + 0.035 * abs(face.attrs.yaw)
    round_off = 1.0 - (x / reach) ** 2 - (y / (0.50 * face.lower)) ** 2
    steep = 0.5 * (round_off / _RIM**0.5 + _RIM**0.5)  # the tangent at the rim, so that the rim stays turned away
    height = (0.25 * np.where(round_off > _RIM, np.sqrt(np.maximum(round_off, _RIM)), steep)).astype(np.float32)
    nose = 1.0 + 0.30 * face.attrs.nose_size
    tip = face.spot(0.0, face.nose_y, 0.055)
    _ridge(height, face.spot(0.0, -0.055, 0.0), tip, 0.029 * nose, 0.036 * nose)
    _blob(height, tip, 0.010 * nose, 0.026 * nose, 0.021)
    for side in (-1, 1):
        _blob(height, face.spot(side * 0.030 * nose, face.nose_y + 0.006, 0.03), 0.010 * nose, 0.016 * nose, 0.016)
        _blob(height, face.spot(side * face.eye_x, face.eye_y + 0.004), -0.024, 0.055, 0.036)
        _blob(height, face.spot(side * (face.eye_x - 0.035), face.eye_y - 0.012), -0.012, 0.022, 0.024)
        _blob(height, face.spot(side * face.eye_x, -0.088), 0.010, 0.07, 0.018)
        _blob(height, face.spot(side * 0.135, 0.09 - 0.015 * face.smile), 0.016, 0.058, 0.052)
        _blob(height, face.spot(side * 0.105, face.mouth_y - 0.01), -0.005 - 0.004 * face.smile, 0.018, 0.035)
    _blob(height, face.spot(0.0, face.mouth_y), 0.012, 0.085, 0.05)
    _blob(height, face.spot(0.0, face.mouth_y + 0.062), -0.010, 0.06, 0.018)
    _blob(height, face.spot(0.0, face.chin_y - 0.045), 0.014, 0.05, 0.035)
    return height


def normals(height: Floats) -> tuple[Floats, Floats, Floats]:
    """Unit surface normals (x, y, z) of a height map in picture units."""
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=_GRID / 8.0)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=_GRID / 8.0)
    length = 1.0 / np.sqrt(slope_x**2 + slope_y**2 + 1.0)
    return -slope_x * length, -slope_y * length, length


def key_light(light: float) -> tuple[float, float, float]:
    """Direction to the key light: ``light`` -1 is left of the picture, 1 right; always from above and in front."""
    x, y, z = 0.72 * light, -0.42, 0.76
    norm = math.sqrt(x * x + y * y + z * z)
    return x / norm, y / norm, z / norm


def lit_skin(face: Face, skin: Floats, size: int) -> Floats:
    """The skin under the key and fill lights, float32 RGB ``[size, size, 3]``.

    Wrapped Lambert for the key light, so that shadows stay soft, a warmer tint where light falls off (blood under
    the skin), and a Blinn-Phong sheen.
    """
    nx, ny, nz = normals(face_height(face))
    lx, ly, lz = key_light(face.attrs.light)
    key = np.maximum((nx * lx + ny * ly + nz * lz) * 0.80 + 0.20, 0.0)
    half = 1.0 / math.sqrt(lx * lx + ly * ly + (lz + 1.0) ** 2)
    sheen = np.maximum((nx * lx + ny * ly + nz * (lz + 1.0)) * half, 0.0) ** 28
    level = (0.32 + 0.84 * key) * (1.03 - 0.12 * face.attrs.skin)
    tinted = cv2.merge([level**0.86, level, level**1.08])
    out = tinted * skin + (sheen * (0.20 - 0.08 * face.attrs.skin))[:, :, None]
    for side in (-1, 1):
        _flush(out, face.spot(side * 0.145, 0.10), 0.07)
    return np.asarray(cv2.resize(out, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float32))


def _flush(image: Floats, at: Points, wide: float) -> None:
    """Redden the cheeks."""
    x, y = _axes(at)
    amount = 0.14 * np.exp(-((x / wide) ** 2) - (y / (0.7 * wide)) ** 2)
    image *= 1.0 - amount[:, :, None] * np.array([0.05, 0.55, 0.45], dtype=np.float32)
