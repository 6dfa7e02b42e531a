"""Detection and square crops, on pages with drawn faces at known places."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.duplicates import near_duplicates, perceptual_hash
from model.data.faces import (
    Box,
    DetectorSettings,
    FaceDetector,
    cut_square,
    face_crops,
    sharpness,
    square_around,
    tiles,
    whole_image,
)
from model.data.images import UInt8, encode_image, resize
from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import render
from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file

CASCADE = "haarcascade_frontalface_alt2.xml"
SETTINGS = DetectorSettings(
    cascade=CASCADE, sha256=None, scale_factor=1.1, min_neighbors=4, mirror=False, equalise=True, min_face=40,
    expand=1.6, shift_down=-0.1, min_side=64, max_outside=0.2, min_sharpness=20.0, max_per_image=20,
)  # fmt: skip


@cache
def face(number: int, size: int) -> UInt8:
    """Face ``number`` among those that the cascade is sure of: what is tested here is not its recall."""
    return render(sample_attributes(0, clear_faces()[number]), "photo", size)


@cache
def clear_faces() -> list[int]:
    finder = FaceDetector("photo", replace(SETTINGS, min_neighbors=12))
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


def detector(**changes: object) -> FaceDetector:
    return FaceDetector("photo", replace(SETTINGS, **changes))  # type: ignore[arg-type]


def holds(box: Box, x: int, y: int, size: int = 160) -> bool:
    return (
        abs(box.x + box.width / 2 - x - size / 2) < size / 4 and abs(box.y + box.height / 2 - y - size / 2) < size / 4
    )


def test_every_face_is_found_once_in_reading_order() -> None:
    places = [(20, 20), (500, 30), (40, 300), (450, 310)]
    crops = face_crops(page(places), detector(), 64)
    assert len(crops) == 4
    assert all(any(holds(crop.box, *place) for crop in crops) for place in places)
    assert [crop.box.y for crop in crops] == sorted(crop.box.y for crop in crops)
    assert all(crop.pixels is not None and crop.pixels.shape == (64, 64, 3) for crop in crops)


def test_a_page_without_faces_gives_none() -> None:
    assert face_crops(page([]), detector(), 64) == []
    assert face_crops(np.zeros((20, 20, 3), np.uint8), detector(), 64) == []


def test_detection_repeats_exactly_whatever_the_number_of_threads() -> None:
    picture = page([(20, 20), (500, 30), (40, 300)])
    once = detector().detect(picture)
    finder = detector()
    cv2.setNumThreads(4)
    assert finder.detect(picture) == once


def test_a_face_across_the_tiles_of_a_strip_is_found_once() -> None:
    places = [(40, 60), (30, 700), (60, 1500), (50, 2640)]
    strip = page(places, height=3000, width=260)
    assert len(tiles(3000, 260)) > 5
    boxes = detector().detect(strip)
    assert len(boxes) == 4
    assert all(any(holds(box, *place) for box in boxes) for place in places)


@settings(deadline=None)
@given(st.integers(20, 900), st.integers(20, 40_000), st.booleans())
def test_every_square_of_a_strip_lies_whole_in_a_tile(short: int, long: int, wide: bool) -> None:
    long = max(short, long)
    cut = tiles(short, long) if wide else tiles(long, short)
    spans = [(tile[1], tile[3]) if wide else (tile[0], tile[2]) for tile in cut]
    assert spans[0][0] == 0
    assert spans[-1][1] == long
    for (_, end), (start, _) in pairwise(spans):
        assert start <= end - short + 1, "a square between two tiles is in neither"


def test_evidence_of_the_mirrored_image_is_added() -> None:
    picture = page([(100, 100)])
    plain, both = detector().detect(picture)[0], detector(mirror=True).detect(picture)[0]
    assert both.evidence > plain.evidence
    assert holds(both, 100, 100)
    assert detector(mirror=True, min_neighbors=10_000).detect(picture) == []


@pytest.mark.parametrize(("change", "reason"), [
    ({"min_side": 400}, "too small: "), ({"min_sharpness": 1e9}, "blurred: sharpness"),
    ({"max_per_image": 1}, "surplus: more than 1"),
])  # fmt: skip
def test_a_dropped_face_says_why(change: dict[str, object], reason: str) -> None:
    crops = face_crops(page([(20, 20), (500, 30)]), detector(**change), 64)
    dropped = [crop for crop in crops if crop.pixels is None]
    assert dropped
    assert all(crop.dropped is not None and crop.dropped.startswith(reason) for crop in dropped)
    assert len(dropped) == (1 if "max_per_image" in change else 2)


def test_a_face_cut_by_the_border_is_dropped_or_filled_as_told() -> None:
    picture = page([(100, 100)])[130:, 130:]
    strict = face_crops(picture, detector(max_outside=0.0), 64)
    assert [crop.dropped is not None and crop.dropped.startswith("border: ") for crop in strict] == [True]
    lenient = face_crops(picture, detector(max_outside=0.9), 64)
    assert lenient[0].pixels is not None


def test_outside_the_page_its_edge_is_repeated() -> None:
    ramp = np.repeat(np.arange(10, dtype=np.uint8)[None, :, None], 10, 0).repeat(3, 2)
    cut = cut_square(ramp, Box(-3, -2, 6, 6))
    assert cut[:, :, 0].tolist() == [[0, 0, 0, 1, 2, 3]] * 6
    assert cut_square(ramp, Box(8, 7, 5, 5))[0, :, 0].tolist() == [7, 8, 9, 9, 9]


def test_the_square_is_centred_on_the_face_and_moved() -> None:
    box = Box(y=100, x=200, width=50, height=50)
    assert square_around(box, 2.0, 0.0) == Box(75, 175, 100, 100)
    assert square_around(box, 1.0, 0.2) == Box(110, 200, 50, 50)


def test_the_crop_shows_the_page_as_resized_by_the_one_policy() -> None:
    picture = page([(200, 200)])
    crop = face_crops(picture, detector(), 64)[0]
    square = crop.square
    expected = picture[square.y : square.y + square.height, square.x : square.x + square.width]
    assert (crop.pixels == resize(np.ascontiguousarray(expected), 64)).all()


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


def test_a_missing_cascade_names_the_key_and_opencvs_own() -> None:
    with pytest.raises(
        MissingInputError, match=r"lbp_x\.xml.*crop\.detectors\.photo\.cascade.*haarcascade_frontalface_alt"
    ):
        detector(cascade="lbp_x.xml")


@pytest.mark.parametrize(
    "content", [b"", b"<xml", b"<?xml version='1.0'?><opencv_storage></opencv_storage>", b"\0" * 500]
)
def test_a_broken_cascade_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.xml").write_bytes(content)
    with pytest.raises(CorruptInputError, match=r"mine\.xml.*cannot read it as a cascade"):
        detector(cascade=str(tmp_path / "mine.xml"))


def test_a_cut_cascade_is_named(tmp_path: Path) -> None:
    whole = (Path(cv2.data.haarcascades) / CASCADE).read_bytes()  # type: ignore[attr-defined,unused-ignore]
    (tmp_path / "cut.xml").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptInputError, match=r"cut\.xml"):
        detector(cascade=str(tmp_path / "cut.xml"))


def test_a_cascade_with_another_hash_is_refused() -> None:
    with pytest.raises(CorruptInputError, match="sha256"):
        detector(sha256="0" * 64)
    right = detector()
    assert detector(sha256=right.sha256).sha256 == sha256_file(right.file)


@pytest.mark.parametrize("change", [
    {"scale_factor": 1.0}, {"expand": 0.5}, {"min_face": 0}, {"min_neighbors": 0}, {"max_per_image": 0},
    {"max_outside": 1.0},
])  # fmt: skip
def test_impossible_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


def test_re_encoded_copies_are_near_duplicates_and_other_faces_are_not() -> None:
    import io

    from model.data.images import decode_image

    faces = [face(index, 64) for index in range(6)]
    copies = [decode_image(io.BytesIO(encode_image(image, "jpeg")), "copy") for image in faces[:2]]
    hashes = [perceptual_hash(image) for image in [*faces, *copies, resize(face(2, 128), 64)]]
    assert near_duplicates(hashes) == [[0, 6], [1, 7], [2, 8]]
    assert near_duplicates([]) == []
