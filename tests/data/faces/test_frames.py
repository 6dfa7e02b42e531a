"""Which part of a page is cut around a face."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.faces.boxes import Box, Face
from model.data.faces.frames import FfhqFrame, Framed, SquareFrame, framed, square_around

UPRIGHT = ((40.0, 40.0), (60.0, 40.0), (50.0, 50.0), (42.0, 60.0), (58.0, 60.0))


def test_the_square_is_centred_on_the_face_and_moved() -> None:
    box = Box(y=100, x=200, width=50, height=50)
    assert square_around(box, 2.0, 0.0) == Box(75, 175, 100, 100)
    assert square_around(box, 1.0, 0.2) == Box(110, 200, 50, 50)


def test_an_upright_square_needs_no_landmarks_and_knows_what_lies_outside() -> None:
    found = framed(Face(Box(0, 0, 40, 40), 1.0, None), SquareFrame("square", 2.0, 0.0), 500, 500)
    assert found == Framed(Box(-20, -20, 80, 80), None, pytest.approx(1 - 60 * 60 / 80 / 80))


def test_an_ffhq_square_comes_from_the_landmarks_not_from_the_box() -> None:
    found = framed(Face(Box(0, 0, 3, 3), 1.0, UPRIGHT), FfhqFrame("ffhq", 1.0), 500, 500)
    assert isinstance(found, Framed)
    assert found.quad is not None
    assert found.square == Box(2, 10, 80, 80)
    assert np.ptp(found.quad, axis=0) == pytest.approx([80, 80])
    assert found.outside == 0


def test_a_face_without_landmarks_has_no_ffhq_square() -> None:
    assert str(framed(Face(Box(0, 0, 40, 40), 1.0, None), FfhqFrame("ffhq", 1.0), 99, 99)).startswith("no landmarks: ")


def test_a_face_whose_mouth_is_above_its_eyes_has_none_either() -> None:
    upside_down = tuple((x, -y) for x, y in UPRIGHT)
    found = framed(Face(Box(0, 0, 40, 40), 1.0, upside_down), FfhqFrame("ffhq", 1.0), 99, 99)
    assert found == "odd landmarks: the mouth is not below the eyes"


@pytest.mark.parametrize("bad", [0.4, 3.1])
def test_an_ffhq_square_of_no_use_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="expand"):
        FfhqFrame("ffhq", bad)


def test_a_square_smaller_than_the_face_is_refused() -> None:
    with pytest.raises(ValueError, match="expand"):
        SquareFrame("square", 0.5, 0.0)
