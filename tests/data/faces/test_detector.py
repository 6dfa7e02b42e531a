"""The interface to detectors: which is loaded, what ships with OpenCV, strips in tiles."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.faces.boxes import Box, Face, tiles
from model.data.faces.cascade import Cascade
from model.data.faces.detector import find_faces, load_detector, shipped_file
from model.data.images import UInt8
from model.errors import MissingInputError
from tests.data.faces.pages import SETTINGS, SHIPPED, cascade, holds, page


class Spots:
    """Finds white squares; the corner of each is its only landmark."""

    def detect(self, image: UInt8) -> list[Face]:
        rows, columns = np.nonzero(image[:, :, 0] == 255)
        if not len(rows):
            return []
        y, x = int(rows.min()), int(columns.min())
        return [Face(Box(y, x, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1), 1.0, ((float(x), float(y)),))]


def test_the_settings_choose_the_detector() -> None:
    assert isinstance(load_detector(SETTINGS, shipped_file(SHIPPED, "a.key"), "a.key"), Cascade)


def test_a_face_across_the_tiles_of_a_strip_is_found_once() -> None:
    places = [(40, 60), (30, 700), (60, 1500), (50, 2640)]
    strip = page(places, height=3000, width=260)
    assert len(tiles(3000, 260)) > 5
    found = find_faces(strip, cascade())
    assert len(found) == 4
    assert all(any(holds(face.box, *place) for face in found) for place in places)


@pytest.mark.parametrize("turned", [False, True])
def test_boxes_and_landmarks_of_a_tile_are_in_px_of_the_page(turned: bool) -> None:
    strip = np.zeros((100, 1000, 3), np.uint8)
    strip[30:50, 720:740] = 255
    strip = strip.swapaxes(0, 1) if turned else strip
    box = Box(720, 30, 20, 20) if turned else Box(30, 720, 20, 20)
    assert find_faces(strip, Spots()) == [Face(box, 1.0, ((float(box.x), float(box.y)),))]


@pytest.mark.parametrize("name", ["lbp_x.xml", "../haarcascade_frontalface_alt.xml", ""])
def test_a_cascade_that_opencv_does_not_ship_is_answered_with_those_it_does(name: str) -> None:
    with pytest.raises(MissingInputError, match=r"^a\.key: opencv:.*haarcascade_frontalface_alt"):
        shipped_file(name, "a.key")
