"""Where everything on a head is: three-dimensional features, turned by the pose, seen in the picture.

Head coordinates have their origin in the middle of the head: x to the right of the picture, y down, z towards
the viewer; the unit is the side of the standard framing square. Picture coordinates are [0, 1] inside that square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from model.data.synthetic.attributes import FaceAttributes, Floats
from model.data.synthetic.curves import Points, circle, closed_curve, open_curve, ribbon

CENTRE = np.array([0.5, 0.497])
SCALE = 1.06  # head units per side of the framing square: hair at the top edge, chin near 0.88
LANDMARK_NAMES = (
    "left_eye",
    "right_eye",
    "left_eye_outer",
    "left_eye_inner",
    "right_eye_inner",
    "right_eye_outer",
    "nose_tip",
    "mouth_left",
    "mouth_right",
    "mouth_top",
    "mouth_bottom",
    "chin",
    "left_brow_outer",
    "left_brow_inner",
    "right_brow_inner",
    "right_brow_outer",
    "left_jaw",
    "right_jaw",
)
"""Names of the rows of `landmarks`; left and right are the picture's."""


@dataclass(frozen=True)
class Exaggeration:
    """How a style enlarges features about their unchanged centres (1 = as in the photograph, but for `cheer`)."""

    eye_width: float
    eye_height: float
    nose: float
    lips: float  # thickness of the lips
    mouth: float  # how far it opens
    brow: float
    cheer: float  # added to the smile; 0 = as in the photograph


PHOTO = Exaggeration(eye_width=1.0, eye_height=1.0, nose=1.0, lips=1.0, mouth=1.0, brow=1.0, cheer=0.0)


class Face:
    """The shapes of one face in picture coordinates."""

    def __init__(self, attrs: FaceAttributes, style: Exaggeration = PHOTO) -> None:
        """Measure the face of ``attrs`` as ``style`` draws it."""
        self.attrs = attrs
        self.style = style
        self.half_width = 0.262 * (1.0 + 0.085 * attrs.face_width)
        self.lower = 1.0 + 0.055 * attrs.face_height
        self.eye_x = 0.114 + 0.013 * attrs.eye_spacing + 0.25 * (self.half_width - 0.262)
        self.eye_y = -0.022
        self.eye_half_width = 0.0535 * (1.0 + 0.16 * attrs.eye_size) * style.eye_width
        self.eye_half_height = 0.0290 * (1.0 + 0.26 * attrs.eye_size) * style.eye_height
        self.nose_y = 0.108 * self.lower
        self.smile = 0.30 + 0.70 * attrs.smile + style.cheer  # a neutral portrait smiles a little
        self.mouth_y = 0.207 * self.lower
        self.mouth_half = 0.076 * (1.0 + 0.20 * attrs.mouth_width)
        self.chin_y = 0.366 * self.lower
        self._turn = _rotation(math.radians(18 * attrs.yaw), math.radians(9 * attrs.pitch))
        self._sway = math.radians(6 * attrs.roll)

    def project(self, points: ArrayLike) -> Points:
        """Head coordinates ``[N, 3]`` -> picture coordinates ``[N, 2]`` (orthographic)."""
        turned = (np.asarray(points, dtype=np.float64) @ self._turn.T)[:, :2]
        return self.sway(turned)

    def sway(self, flat: ArrayLike) -> Points:
        """Apply the roll alone to points that do not turn with the head, ``[N, 2]`` -> picture coordinates."""
        points = np.asarray(flat, dtype=np.float64)
        cos, sin = math.cos(self._sway), math.sin(self._sway)
        return np.asarray(points @ (SCALE * np.array([[cos, sin], [-sin, cos]])) + CENTRE)

    def rim(self, points: ArrayLike) -> Points:
        """Silhouette points ``[N, 3]``: a head seen from the side is no narrower, so only their depth moves them."""
        p = np.asarray(points, dtype=np.float64)
        shift_x, shift_y = self._turn[0, 2], self._turn[1, 2]
        return self.sway(np.stack([p[:, 0] + p[:, 2] * shift_x, p[:, 1] + p[:, 2] * shift_y], axis=1))

    def on(self, flat: ArrayLike, lift: float = 0.0) -> Points:
        """Points ``[N, 2]`` given on the front of the face, ``lift`` above its surface -> picture coordinates."""
        p = np.asarray(flat, dtype=np.float64)
        depth = 0.27 * np.sqrt(np.maximum(0.06, 1.0 - (p[:, 0] / 0.35) ** 2 - (p[:, 1] / 0.55) ** 2)) + lift
        return self.project(np.concatenate([p, depth[:, None]], axis=1))

    def spot(self, x: float, y: float, lift: float = 0.0) -> Points:
        """One point on the face, ``[2]`` in picture coordinates."""
        return np.asarray(self.on([[x, y]], lift)[0])

    def outline(self) -> Points:
        """The closed outline of the head without hair and ears."""
        a, low, jaw = self.half_width, self.lower, self.attrs.jaw
        right = [
            (0.52 * a, -0.335, -0.02),
            (0.88 * a, -0.225, 0.02),
            (1.0 * a, -0.06, 0.05),
            (0.97 * a, 0.09, 0.07),
            ((0.815 + 0.05 * jaw) * a, 0.225 * low, 0.10),
            ((0.49 + 0.085 * jaw) * a, 0.322 * low, 0.14),
            ((0.19 + 0.045 * jaw) * a, self.chin_y - 0.010, 0.16),
        ]
        left = [(-x, y, z) for x, y, z in reversed(right)]
        return self.rim(closed_curve([(0.0, -0.36, -0.02), *right, (0.0, self.chin_y, 0.165), *left]))

    def ear(self, side: int) -> Points:
        """The outline of the ear on ``side`` (-1 left, 1 right)."""
        t = np.linspace(0.0, 2.0 * math.pi, 20, endpoint=False)
        x = side * (self.half_width + 0.004) + 0.034 * np.cos(t) * (1 - 0.2 * np.sin(t))
        y = 0.025 + 0.066 * np.sin(t)
        return self.rim(np.stack([x, y, np.full_like(x, -0.03)], axis=1))

    def eye_centre(self, side: int) -> Points:
        """Centre of an eye, ``[2]``."""
        return self.spot(side * self.eye_x, self.eye_y)

    def eye(self, side: int, swell: float = 1.0) -> Points:
        """The opening between the lids, almond shaped; ``swell`` scales it about its centre."""
        c, s = circle(28)
        x = self.eye_half_width * c * swell
        up = np.where(s > 0, 1.0, 0.78) * self.eye_half_height * swell
        y = -up * np.sign(s) * np.abs(s) ** 0.85 - 0.006 * c  # outer corner a little higher than the inner one
        return self.on(np.stack([side * (self.eye_x + x), self.eye_y + y], axis=1))

    def lid(self, side: int, raise_by: float = 0.0) -> Points:
        """The upper lid as an open curve from the inner to the outer corner."""
        t = np.linspace(math.pi, 0.0, 14)
        x = self.eye_half_width * np.cos(t) * 1.04
        y = -self.eye_half_height * np.sin(t) ** 0.85 - 0.006 * np.cos(t) - raise_by * np.sin(t) ** 0.5
        return self.on(np.stack([side * (self.eye_x + x), self.eye_y + y], axis=1))

    def pupil(self, side: int, travel: float = 0.30) -> Points:
        """Where the iris is centred, ``[2]``; gaze moves it by ``travel`` of the eye's half width."""
        x = side * self.eye_x + travel * self.eye_half_width * self.attrs.gaze
        return self.spot(x, self.eye_y - 0.08 * self.eye_half_height)

    def brow(self, side: int) -> Points:
        """The outline of a brow, thick inside and tapered outside."""
        spine = self.brow_spine(side)
        width = 0.017 * (1.0 + 0.42 * self.attrs.brow_thickness) * self.style.brow
        taper = np.interp(np.linspace(0, 1, len(spine)), [0.0, 0.12, 0.5, 1.0], [0.55, 0.95, 1.0, 0.22])
        return ribbon(spine, width * taper)

    def brow_spine(self, side: int) -> Points:
        """The middle line of a brow from its inner to its outer end."""
        tilt = 0.015 * (self.attrs.brow_angle - 0.45)
        y = -0.092 - 0.45 * (self.eye_half_height - 0.0290)
        inner, outer = self.eye_x - 0.052, self.eye_x + 0.066
        mid = 0.62 * outer + 0.38 * inner
        points = [(side * inner, y + 0.006 + tilt), (side * mid, y - 0.014), (side * outer, y + 0.004 - tilt)]
        return self.on(open_curve(points), 0.01)

    def mouth(self) -> tuple[Points, Points, Points]:
        """(upper lip, opening, lower lip) as closed outlines; the opening is flat when the mouth is shut."""
        m, gap = self.mouth_half, 0.036 * self.attrs.mouth_open * self.style.mouth
        corner = self.mouth_y - 0.023 * self.smile
        dip = 0.018 * self.smile
        fat = self.style.lips
        x = np.linspace(-1.0, 1.0, 17)
        bow = 1.0 - x**2
        middle = corner + (self.mouth_y - corner + dip * 0.55) * bow
        top_edge = middle - bow**0.8 * (0.019 * fat) + 0.007 * fat * np.exp(-((x / 0.16) ** 2)) - gap * 0.25 * bow
        inner_top = middle - gap * 0.35 * bow
        inner_bottom = middle + gap * 0.85 * bow + 0.002 * bow
        low_edge = inner_bottom + bow**0.7 * 0.026 * fat
        xs = x * m
        top, a, b, low = (
            self.on(np.stack([xs, y], axis=1), 0.012) for y in (top_edge, inner_top, inner_bottom, low_edge)
        )
        return np.concatenate([top, a[::-1]]), np.concatenate([a, b[::-1]]), np.concatenate([b, low[::-1]])

    def torso(self, sink: float = 0.9) -> tuple[Points, Points]:
        """(neck, shoulders) as closed outlines; both reach ``sink`` below the head's middle."""
        n = 0.128 + 0.25 * (self.half_width - 0.262)
        lean = 0.03 * self.attrs.yaw
        neck = [(-n, 0.12), (n, 0.12), (n * 0.98, 0.40), (n * 1.12, 0.50), (-n * 1.12, 0.50), (-n * 0.98, 0.40)]
        right = [(n * 0.86, 0.425), (n * 1.5, 0.462), (0.36, 0.505), (0.50, 0.58), (0.56, 0.74), (0.58, sink)]
        left = [(-x, y) for x, y in reversed(right)]
        collar = open_curve([(-n * 0.86, 0.425), (-0.075, 0.475), (0.0, 0.497), (0.075, 0.475), (n * 0.86, 0.425)])
        body = np.concatenate([open_curve(right), open_curve(left), collar])
        lift = np.array([lean, 0.0]) + CENTRE
        return np.array(neck) * SCALE + lift, body * SCALE + lift


def _rotation(yaw: float, pitch: float) -> Points:
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    turn = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    nod = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    return np.asarray(nod @ turn)


def landmarks(attrs: FaceAttributes) -> Floats:
    """Where the features of a face are in the standard framing, the same for every style.

    Returns: float32 ``[18, 2]``, (x, y) in [0, 1]; the rows are named by `LANDMARK_NAMES`.
    """
    f = Face(attrs)
    upper, _, lower = f.mouth()
    w, jaw = f.eye_half_width, 0.815 + 0.05 * attrs.jaw
    corners = [f.spot(x, f.eye_y) for x in (-f.eye_x - w, -f.eye_x + w, f.eye_x - w, f.eye_x + w)]
    left, right = f.brow_spine(-1), f.brow_spine(1)
    sides = f.rim([(-jaw * f.half_width, 0.225 * f.lower, 0.10), (jaw * f.half_width, 0.225 * f.lower, 0.10)])
    rows = [f.eye_centre(-1), f.eye_centre(1), *corners, f.spot(0.0, f.nose_y, 0.06)]
    rows += [upper[0], upper[16], upper[8], lower[25], f.rim([(0.0, f.chin_y, 0.165)])[0]]
    rows += [left[-1], left[0], right[0], right[-1], sides[0], sides[1]]
    return np.array(rows, dtype=np.float32)
