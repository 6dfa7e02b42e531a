"""Shapes that the drawn styles share: large eyes, a hint of a nose, lines of the mouth, strands and glints of hair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.data.synthetic.attributes import FaceAttributes
from model.data.synthetic.curves import Points, closed_curve, open_curve, ribbon
from model.data.synthetic.geometry import Exaggeration, Face
from model.data.synthetic.hair import Hair
from model.data.synthetic.raster import disc

FLAT = Exaggeration(eye_width=1.36, eye_height=1.85, nose=0.7, lips=0.8, mouth=1.7, brow=1.05, cheer=0.22)
INK = Exaggeration(eye_width=1.26, eye_height=1.75, nose=0.6, lips=0.7, mouth=1.5, brow=0.95, cheer=0.22)


@dataclass(frozen=True)
class Eye:
    """One drawn eye as closed shapes, largest first."""

    opening: Points
    iris: Points
    glow: Points  # the lighter lower part of the iris
    pupil: Points
    glints: tuple[Points, Points]
    lash: Points
    lower: Points  # an open curve
    fold: Points  # an open curve above the lid


@dataclass(frozen=True)
class Figure:
    """A head and shoulders, measured once and drawn by a style."""

    attrs: FaceAttributes
    face: Face
    hair: Hair
    outline: Points
    front: Points
    back: Points
    neck: Points
    body: Points

    @property
    def dark_side(self) -> int:
        """The side that the light does not come from, -1 left or 1 right."""
        return -1 if self.attrs.light > 0 else 1


def figure(attrs: FaceAttributes, style: Exaggeration, locks: float) -> Figure:
    """Measure the cartoon of a face; ``locks`` is how deep its fringe is cut."""
    face = Face(attrs, style)
    hair = Hair(face, locks)
    neck, body = face.torso(sink=1.8)
    return Figure(attrs, face, hair, face.outline(), hair.front(), hair.back(), neck, body)


def eye(face: Face, side: int) -> Eye:
    """The shapes of one eye; the iris is tall and nearly fills the opening, as cartoonists like it."""
    w, h = face.eye_half_width, face.eye_half_height
    middle = face.pupil(side, travel=0.20) + np.array([0.0, 0.06 * h])
    lid = face.lid(side)
    wing = lid[-1] + np.array([side * 0.20 * w, -0.16 * h])
    spine = np.concatenate([lid, wing[None, :]])
    width = 0.024 * np.interp(np.linspace(0, 1, len(spine)), [0.0, 0.25, 0.75, 1.0], [0.35, 0.95, 1.15, 0.25])
    glint = middle + np.array([-0.24 * w, -0.40 * h])
    spark = middle + np.array([0.26 * w, 0.42 * h])
    almond = face.eye(side)
    return Eye(
        opening=almond,
        iris=disc(middle, 0.77 * w, 1.0 * h / (0.77 * w)),
        glow=disc(middle + np.array([0.0, 0.38 * h]), 0.56 * w, 0.50 * h / (0.56 * w)),
        pupil=disc(middle - np.array([0.0, 0.04 * h]), 0.30 * w, 0.42 * h / (0.30 * w)),
        glints=(disc(glint, 0.175 * w, 1.2), disc(spark, 0.08 * w)),
        lash=ribbon(spine, width),
        lower=almond[16:27],
        fold=face.lid(side, raise_by=0.017)[3:-2],
    )


def nose_wedge(fig: Figure) -> Points:
    """The little shadow beside and under the tip of the nose."""
    face, side = fig.face, fig.dark_side
    size = 0.75 * (1.0 + 0.35 * fig.attrs.nose_size)
    y = face.nose_y
    wedge = [(0.004 * side, y - 0.062 * size), (0.034 * side * size, y + 0.008), (0.0, y + 0.020 * size)]
    return face.on([*wedge, (-0.010 * side, y + 0.010)], 0.045)


def nose_line(fig: Figure) -> Points:
    """The line under the nose, open."""
    face, side = fig.face, fig.dark_side
    size = 0.8 * (1.0 + 0.40 * fig.attrs.nose_size)
    y = face.nose_y
    points = [(0.030 * side * size, y + 0.004), (0.016 * side * size, y + 0.018), (-0.014 * side * size, y + 0.017)]
    return face.on(open_curve(points), 0.045)


def cheek(face: Face, side: int) -> Points:
    """The blush on a cheek."""
    return face.on(disc(np.array([side * 0.150, 0.100]), 0.040, 0.6), 0.0)


def lit_spots(face: Face) -> list[Points]:
    """Where the light catches the face: both cheeks under the eyes and the bridge of the nose."""
    cheeks = [face.on(disc(np.array([side * 0.112, 0.088]), 0.064, 0.60)) for side in (-1, 1)]
    return [*cheeks, face.on(disc(np.array([0.0, 0.0]), 0.024, 3.0))]


def strands(fig: Figure) -> list[Points]:
    """A few strands from the parting to the fringe and down the side locks, as open curves."""
    hair, face = fig.hair, fig.face
    crown = face.rim([(0.5 * face.half_width * fig.attrs.parting, -0.345 - hair.volume * 0.5, -0.02)])[0]
    line = hair.hairline()
    curves = []
    for index in (8, 20, 32, 46, 58, 70):
        end = line[index] + (crown - line[index]) * 0.10
        way = end - crown
        bend = np.array([0.45 * way[0], -0.10 * abs(way[0])])
        curves.append(open_curve([crown + way * part + bend * part * (1 - part) * 2 for part in (0.50, 0.75, 1.0)]))
    if hair.long > 0.5:
        for side in (-1, 1):
            inner = hair.lock_edge(side)
            outer = hair.outer_edge(side)
            curves += [inner * (1 - part) + outer * part for part in (0.35, 0.66)]
    return curves


def gloss(fig: Figure) -> Points:
    """The bright band on the hair: a jagged strip around the crown, nearer to the light."""
    face = fig.face
    s = np.linspace(-1.0, 1.0, 23)
    x = face.half_width * (0.52 * s + 0.22 * fig.attrs.light)
    y = -0.292 - 0.02 * fig.attrs.hair_volume + 0.05 * s**2
    thick = 0.019 * (1.0 - s**2) ** 0.5
    jag = 0.020 * (np.arange(23) % 2) * (1.0 - s**2)
    upper = np.stack([x, y - thick], axis=1)
    lower = np.stack([x, y + thick + jag], axis=1)
    return face.on(np.concatenate([upper, lower[::-1]]))


def chin_shadow(fig: Figure) -> Points:
    """The part of the neck that the chin shades."""
    n = float(fig.neck[1, 0] - fig.neck[0, 0]) / 2
    middle = (fig.neck[0] + fig.neck[1]) / 2
    low = 0.02 + float(fig.outline[:, 1].max())
    points = [(-n, 0.0), (n, 0.0), (n, low - middle[1]), (0.2 * n, low + 0.035 - middle[1]), (-n, low - middle[1])]
    return closed_curve(np.array(points) + middle)
