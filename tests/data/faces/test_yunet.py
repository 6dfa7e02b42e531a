"""YuNet through OpenCV's own code, with a tiny network in its place (``tiny_yunet``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.data.faces.boxes import Box
from model.data.faces.detector import find_faces, finds_landmarks, load_detector
from model.data.faces.yunet import LARGEST, SMALLEST, Yunet, YunetSettings, scales
from model.data.images import UInt8
from model.errors import CorruptInputError
from tests.data.faces.pages import SETTINGS as CASCADE
from tests.data.faces.tiny_yunet import FACE, tiny_yunet

SETTINGS = YunetSettings(kind="yunet", file="a path", min_score=0.6, min_face=SMALLEST, max_side=2000)
RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.onnx"
    path.write_bytes(tiny_yunet())
    return path


def cells(*places: tuple[int, int], colour: tuple[int, int, int] = RED, side: int = 32, page: int = 320) -> UInt8:
    image = np.zeros((page, page, 3), np.uint8)
    for x, y in places:
        image[y : y + side, x : x + side] = colour
    return image


def test_boxes_lie_where_the_network_saw_the_faces(file: Path) -> None:
    found = Yunet(SETTINGS, file, "a.key").detect(cells((32, 160), (224, 64)))
    expected = {Box(round(y + 16 - FACE / 2), round(x + 16 - FACE / 2), 112, 112) for x, y in ((32, 160), (224, 64))}
    assert {face.box for face in found} == expected
    assert all(0.6 <= face.score <= 1 for face in found)
    assert all(face.landmarks is not None and len(face.landmarks) == 5 for face in found)


def test_the_network_gets_the_colours_in_the_order_it_learnt(file: Path) -> None:
    assert Yunet(SETTINGS, file, "a.key").detect(cells((96, 96), colour=BLUE)) == []


def test_landmarks_are_the_mean_of_several_looks_and_of_their_mirror_images(file: Path) -> None:
    face = Yunet(SETTINGS, file, "a.key").detect(cells((96, 160)))[0]
    left, right, nose, left_mouth, right_mouth = np.array(face.landmarks)
    # The network puts one eye too near the nose, always the same one in the picture it is shown.
    assert left[0] + right[0] == pytest.approx(2 * nose[0], abs=3)
    assert left[1] == pytest.approx(right[1], abs=1)
    assert (nose[0], left_mouth[0] + right_mouth[0]) == pytest.approx((112, 224), abs=8)
    assert right[0] > left[0]
    assert right_mouth[0] > left_mouth[0]


def test_a_face_too_large_for_the_network_is_found_in_a_smaller_copy_of_the_page(file: Path) -> None:
    image = cells((512, 640), side=128, page=1280)  # at a quarter of the size it is a cell of the network
    found = Yunet(replace(SETTINGS, min_face=80), file, "a.key").detect(image)
    assert [face.box for face in found] == [Box(704 - 224, 576 - 224, 448, 448)]
    assert np.mean(found[0].landmarks, axis=0) == pytest.approx([576, 704], abs=60)  # type: ignore[arg-type]


def test_faces_below_the_smallest_size_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(tiny_yunet(face=16.0))
    image = cells((96, 96), page=400)  # shown as it is in both searches
    searches = {size: replace(SETTINGS, min_face=size, max_side=400) for size in (16, 20)}
    found = {size: Yunet(each, tmp_path / "small.onnx", "a.key").detect(image) for size, each in searches.items()}
    assert [face.box.width for face in found[16]] == [16]
    assert found[20] == []


def test_detection_repeats_exactly_whatever_the_number_of_threads_and_pages_before(file: Path) -> None:
    image = cells((32, 160), (224, 64))
    finder = Yunet(SETTINGS, file, "a.key")
    once = finder.detect(image)
    finder.detect(cells((0, 0), page=100))
    cv2.setNumThreads(4)
    assert finder.detect(image) == once


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (31, 33), (33, 2)])
def test_pages_of_any_shape_pass(file: Path, shape: tuple[int, int]) -> None:
    assert Yunet(SETTINGS, file, "a.key").detect(np.zeros((*shape, 3), np.uint8)) == []


def test_landmarks_of_a_strip_are_in_px_of_the_strip(file: Path) -> None:
    strip = np.zeros((1920, 320, 3), np.uint8)
    strip[1504:1536, 96:128] = RED
    found = find_faces(strip, Yunet(SETTINGS, file, "a.key"))
    assert len(found) == 1
    assert np.mean(found[0].landmarks, axis=0) == pytest.approx([112, 1520], abs=25)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"<html>not found</html>", tiny_yunet()[:5000]])
def test_a_file_that_is_no_network_is_named_with_its_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.onnx").write_bytes(content)
    with pytest.raises(CorruptInputError, match=r"mine\.onnx: OpenCV .* YuNet.*a\.key"):
        Yunet(SETTINGS, tmp_path / "mine.onnx", "a.key")


@pytest.mark.parametrize("longest", [10, 300, 1000, 1999, 8000])
@pytest.mark.parametrize("min_face", [8, 20, 64, 500])
def test_every_face_from_the_smallest_to_the_page_itself_is_shown_at_a_size_the_network_knows(
    longest: int, min_face: int
) -> None:
    factors = scales(longest // 2, longest, min_face, 100_000)
    for face in np.geomspace(min_face, max(longest, min_face), 50):
        assert any(SMALLEST * 0.999 <= face * factor <= LARGEST * 1.001 for factor in factors)
    assert max(longest * factor for factor in scales(longest // 2, longest, min_face, 640)) <= 640


def test_only_a_detector_with_landmarks_says_so(file: Path) -> None:
    assert finds_landmarks(SETTINGS)
    assert not finds_landmarks(CASCADE)
    assert isinstance(load_detector(SETTINGS, file, "a.key"), Yunet)


@pytest.mark.parametrize("change", [{"min_score": 0.0}, {"min_score": 1.0}, {"min_face": 7}, {"max_side": 100}])
def test_impossible_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SETTINGS, **change)  # type: ignore[arg-type]
