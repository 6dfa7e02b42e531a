"""Speech balloons, captions and sound effects; they look for room beside the faces."""

from __future__ import annotations

import cv2
import numpy as np

from model.data.synthetic.curves import Points
from model.data.synthetic.pen import Pen
from model.data.synthetic.raster import disc
from model.data.synthetic.scenery import Theme

Box = tuple[float, float, float, float]  # x, y, width, height in px of the panel
# Rows of speech in an order in which neighbours make sense.
_SPEECH = (
    "WAIT!",
    "LOOK UP THERE!",
    "WHAT WAS",
    "THAT LIGHT?",
    "DID YOU BRING",
    "THE MAP?",
    "I LEFT IT",
    "AT HOME...",
    "WE HAVE TO",
    "GO BACK",
    "BEFORE IT RAINS",
    "NEVER MIND.",
    "LISTEN...",
    "SHE KNOWS",
    "SOMETHING!",
    "TELL ME",
    "EVERYTHING.",
    "TOMORROW,",
    "THEN.",
    "OH NO!",
    "HELLO?",
    "REALLY?",
)
_CAPTIONS = (
    "MEANWHILE...",
    "LATER THAT DAY",
    "AT THE HARBOUR",
    "NEXT MORNING",
    "FAR AWAY...",
    "TEN MINUTES LATER",
    "THAT SAME NIGHT",
)
_SOUNDS = ("POW!", "ZAP!", "BOOM", "CRASH!", "WHAM!", "VROOM", "TICK", "CLICK!", "SPLASH", "THUD")
_TRIES = 14


def speak(pen: Pen, theme: Theme, rng: np.random.Generator, taken: list[Box], mouth: Points) -> None:
    """Draw a balloon whose tail points towards ``mouth``, where it covers none of ``taken``; none if there is no room.

    The balloon's rectangle is added to ``taken``.
    """
    first, count = int(rng.integers(len(_SPEECH) - 3)), int(rng.integers(1, 4))
    rows = list(_SPEECH[first : first + count])
    scale = float(rng.uniform(0.40, 0.52))
    wide = max(_text_width(row, scale) for row in rows) * 1.25 + 26.0
    high = 19.0 * len(rows) * scale / 0.45 + 30.0
    place = _room_for(pen, rng, taken, (wide, high))
    if place is None:
        return
    taken.append((*place, wide, high))
    centre = np.array([place[0] + wide / 2, place[1] + high / 2])
    balloon = disc(centre, wide / 2, high / wide)
    way = mouth - centre
    length = float(np.linalg.norm(way))
    tip = centre + way * min(1.0, (0.62 * max(high, 0.5 * wide) + 14.0) / max(length, 1.0))
    side = np.array([-way[1], way[0]]) / max(length, 1.0) * 8.0
    tail = np.stack([centre + side, tip, centre - side])
    for shape in (balloon, tail):
        pen.line(shape, 5.0, theme.line, closed=True)
    for shape in (balloon, tail):
        pen.fill(shape, theme.paper)
    for number, row in enumerate(rows):
        y = centre[1] + (number - (len(rows) - 1) / 2) * 19.0 * scale / 0.45 + 6.0
        _write(pen, row, (float(centre[0]) - _text_width(row, scale) / 2, float(y)), scale, theme.line, 1.0)


def caption(pen: Pen, theme: Theme, rng: np.random.Generator, taken: list[Box]) -> None:
    """A box with a line of narration in one of the upper corners, if a face is not there."""
    text = _CAPTIONS[int(rng.integers(len(_CAPTIONS)))]
    wide = _text_width(text, 0.42) + 18.0
    width = pen.image.shape[1] / pen.unit
    x = 8.0 if rng.random() < 0.5 else width - wide - 8.0
    box = (x, 8.0, wide, 26.0)
    if x < 0 or any(_overlap(box, other) for other in taken):
        return
    taken.append(box)
    shape = np.array([[x, 8.0], [x + wide, 8.0], [x + wide, 34.0], [x, 34.0]])
    pen.fill(shape, theme.caption)
    pen.line(shape, 2.0, theme.line, closed=True)
    _write(pen, text, (x + 9.0, 26.0), 0.42, theme.line, 1.0)


def sound(pen: Pen, theme: Theme, rng: np.random.Generator, taken: list[Box]) -> None:
    """A large outlined sound effect where there is room."""
    text = _SOUNDS[int(rng.integers(len(_SOUNDS)))]
    scale = float(rng.uniform(1.0, 1.6))
    wide, high = _text_width(text, scale) + 16.0, 34.0 * scale
    place = _room_for(pen, rng, taken, (wide, high))
    if place is None:
        return
    taken.append((*place, wide, high))
    at = (place[0] + 8.0, place[1] + high * 0.80)
    _write(pen, text, at, scale, theme.line, 9.0)
    _write(pen, text, at, scale, theme.accent, 3.0)


def _room_for(
    pen: Pen, rng: np.random.Generator, taken: list[Box], size: tuple[float, float]
) -> tuple[float, float] | None:
    """A place for a rectangle inside the panel that touches no taken one, preferring the upper part."""
    height, width = pen.image.shape[0] / pen.unit, pen.image.shape[1] / pen.unit
    free_x, free_y = width - size[0] - 12.0, height - size[1] - 12.0
    if free_x <= 0 or free_y <= 0:
        return None
    for _ in range(_TRIES):
        x, y = 6.0 + free_x * float(rng.random()), 6.0 + free_y * float(rng.random()) ** 1.6
        if not any(_overlap((x, y, *size), other) for other in taken):
            return x, y
    return None


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _text_width(text: str, scale: float) -> float:
    return float(cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 1)[0][0])


def _write(
    pen: Pen, text: str, at: tuple[float, float], scale: float, colour: tuple[int, int, int], thick: float
) -> None:
    place = (int(at[0] * pen.unit), int(at[1] * pen.unit))
    weight = max(1, int(thick * pen.unit * 0.75 + 0.5))
    cv2.putText(pen.image, text, place, cv2.FONT_HERSHEY_DUPLEX, scale * pen.unit, colour, weight, cv2.LINE_AA)
