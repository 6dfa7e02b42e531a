"""Pages with synthetic faces at known places, and a cascade that finds them, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from model.data.faces.boxes import Box
from model.data.faces.cascade import Cascade, CascadeSettings
from model.data.faces.detector import shipped_file
from model.data.images import UInt8
from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import render

SHIPPED = "haarcascade_frontalface_alt2.xml"
SETTINGS = CascadeSettings(
    kind="cascade", file=f"opencv:{SHIPPED}", scale_factor=1.1, min_neighbors=4, mirror=False, equalise=True,
    min_face=40,
)  # fmt: skip


def cascade(**changes: object) -> Cascade:
    return Cascade(replace(SETTINGS, **changes), shipped_file(SHIPPED, "a.key"), "a.key")  # type: ignore[arg-type]


@cache
def face(number: int, size: int) -> UInt8:
    """Face ``number`` among those that the cascade is sure of: what is tested here is not its recall."""
    return render(sample_attributes(0, clear_faces()[number]), "photo", size)


@cache
def clear_faces() -> list[int]:
    finder = cascade(min_neighbors=12)
    chosen: list[int] = []
    for index in range(100):
        paper = np.full((300, 300, 3), 240, np.uint8)
        paper[70:230, 70:230] = render(sample_attributes(0, index), "photo", 160)
        if len(finder.detect(paper)) == 1:
            chosen.append(index)
        if len(chosen) == 6:
            return chosen
    raise AssertionError("the cascade finds hardly any synthetic face")


def page(places: list[tuple[int, int]], height: int = 500, width: int = 700, size: int = 160) -> UInt8:
    paper = np.full((height, width, 3), 240, np.uint8)
    for index, (x, y) in enumerate(places):
        paper[y : y + size, x : x + size] = face(index % 4, size)
    return paper


def holds(box: Box, x: int, y: int, size: int = 160) -> bool:
    return (
        abs(box.x + box.width / 2 - x - size / 2) < size / 4 and abs(box.y + box.height / 2 - y - size / 2) < size / 4
    )
