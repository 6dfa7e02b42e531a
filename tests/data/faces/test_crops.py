"""Crops of the faces of a page, on pages with drawn faces at known places."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from model.data.faces.boxes import Box, Face
from model.data.faces.crops import FaceCrop, FilterSettings, face_crops, sharpness, whole_image
from model.data.faces.detector import find_faces
from model.data.faces.frames import FfhqFrame, SquareFrame
from model.data.images import UInt8, resize
from tests.data.faces.pages import cascade, face, holds, page

FRAME = SquareFrame("square", 1.6, -0.1)
FILTERS = FilterSettings(
    min_side=64, max_outside=0.2, min_sharpness=20.0, max_per_image=20, near_duplicates="keep", duplicate_bits=5
)


def crops(picture: UInt8, **changes: object) -> list[FaceCrop]:
    filters = replace(FILTERS, **changes)  # type: ignore[arg-type]
    return face_crops(picture, find_faces(picture, cascade()), FRAME, filters, 64)


def test_every_face_becomes_one_crop_in_reading_order() -> None:
    places = [(20, 20), (500, 30), (40, 300), (450, 310)]
    found = crops(page(places))
    assert len(found) == 4
    assert all(any(holds(crop.face.box, *place) for crop in found) for place in places)
    assert [crop.face.box.y for crop in found] == sorted(crop.face.box.y for crop in found)
    assert all(crop.pixels is not None and crop.pixels.shape == (64, 64, 3) for crop in found)


def test_a_page_without_faces_gives_none() -> None:
    assert crops(page([])) == []
    assert crops(np.zeros((20, 20, 3), np.uint8)) == []


@pytest.mark.parametrize(("change", "reason"), [
    ({"min_side": 400}, "too small: "), ({"min_sharpness": 1e9}, "blurred: sharpness"),
    ({"max_per_image": 1}, "surplus: more than 1"),
])  # fmt: skip
def test_a_dropped_face_says_why(change: dict[str, object], reason: str) -> None:
    dropped = [crop for crop in crops(page([(20, 20), (500, 30)]), **change) if crop.pixels is None]
    assert dropped
    assert all(crop.dropped is not None and crop.dropped.startswith(reason) for crop in dropped)
    assert len(dropped) == (1 if "max_per_image" in change else 2)


def test_a_face_cut_by_the_border_is_dropped_or_filled_as_told() -> None:
    picture = page([(100, 100)])[130:, 130:]
    strict = crops(picture, max_outside=0.0)
    assert [crop.dropped is not None and crop.dropped.startswith("border: ") for crop in strict] == [True]
    assert crops(picture, max_outside=0.9)[0].pixels is not None


def test_the_crop_shows_the_page_as_resized_by_the_one_policy() -> None:
    picture = page([(200, 200)])
    crop = crops(picture)[0]
    square = crop.square
    expected = picture[square.y : square.y + square.height, square.x : square.x + square.width]
    assert (crop.pixels == resize(np.ascontiguousarray(expected), 64)).all()
    assert crop.quad is None


def test_an_aligned_face_tells_its_corners_and_passes_the_same_filters() -> None:
    picture = page([(200, 200)])
    points = ((250.0, 265.0), (310.0, 275.0), (280.0, 290.0), (250.0, 315.0), (300.0, 320.0))
    found = Face(Box(220, 220, 120, 120), 1.0, points)
    whole = face_crops(picture, [found], FfhqFrame("ffhq", 1.0), FILTERS, 64)[0]
    assert whole.pixels is not None
    assert whole.quad is not None
    assert len(whole.quad) == 4
    for change, reason in (({"min_side": 400}, "too small"), ({"min_sharpness": 1e9}, "blurred")):
        filters = replace(FILTERS, **change)  # type: ignore[arg-type]
        crop = face_crops(picture, [found], FfhqFrame("ffhq", 1.0), filters, 64)[0]
        assert crop.dropped is not None and crop.dropped.startswith(reason)
        assert crop.quad == whole.quad
    blind = face_crops(picture, [replace(found, landmarks=None)], FfhqFrame("ffhq", 1.0), FILTERS, 64)[0]
    assert (blind.pixels, blind.quad) == (None, None)
    assert blind.dropped is not None and blind.dropped.startswith("no landmarks")


def test_blur_lowers_sharpness() -> None:
    sharp = face(0, 128)
    assert sharpness(np.asarray(cv2.GaussianBlur(sharp, (0, 0), 6), dtype=np.uint8)) < sharpness(sharp) / 4


def test_a_whole_image_is_squared_and_never_enlarged() -> None:
    crop = whole_image(np.full((100, 140, 3), 5, np.uint8), 64)
    assert crop.pixels is not None
    assert crop.pixels.shape == (64, 64, 3)
    assert crop.square == Box(0, 20, 100, 100)
    small = whole_image(np.zeros((40, 140, 3), np.uint8), 64)
    assert small.pixels is None
    assert small.dropped == "too small: 40 px, a crop has 64"


@pytest.mark.parametrize("change", [{"max_per_image": 0}, {"max_outside": 1.0}])
def test_impossible_filters_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(FILTERS, **change)  # type: ignore[arg-type]
