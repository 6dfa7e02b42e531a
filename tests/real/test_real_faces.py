"""Detectors on annotated faces: bars a little below what was measured with OpenCV 4.14 (benchmarks/README.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.face_truth import LABELS, Outcome, Picture, by_overlap, comics, judge, photos, precision, recall
from benchmarks.faces import (
    Search,
    align_aligned,
    align_photos,
    cascade,
    judged,
    paper_anime,
    photo_searches,
    tiled,
    whole,
    yunet,
)
from model.data.images import read_image

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


@pytest.fixture(scope="module")
def scenes(real_data: Path) -> list[Picture]:
    return photos(real_data / "photo_scenes" / "dlib")


@pytest.fixture(scope="module")
def pages(real_data: Path) -> list[Picture]:
    return comics(real_data)


def outcomes(pictures: Sequence[Picture], search: Search) -> list[Outcome]:
    return judged(pictures, [search(read_image(picture.path)) for picture in pictures])


def test_yunet_finds_every_annotated_face_of_the_group_photos_at_iou_half(
    real_data: Path, scenes: list[Picture]
) -> None:
    search = whole(yunet(real_data, 0.8))
    strict = [judge(scene, search(read_image(scene.path)), by_overlap) for scene in scenes]
    assert sum(len(outcome.pairs) for outcome in strict) >= 42  # 43 of 43
    assert precision(strict) >= 0.97  # 1.00


def test_the_frontal_cascade_finds_most_of_them(real_data: Path, scenes: list[Picture]) -> None:
    found = outcomes(scenes, photo_searches(real_data)["Haar alt2, 1.1, 8, mirror"])
    assert recall(found) >= 0.88  # 40 of 43
    assert precision(found) >= 0.95  # 1.00


def test_five_landmarks_give_nearly_the_square_of_sixty_eight(real_data: Path, scenes: list[Picture]) -> None:
    errors = np.array(align_photos(outcomes(scenes, whole(yunet(real_data, 0.8)))))
    assert len(errors) >= 42
    assert errors[:, 0].mean() < 0.06  # corners, share of the side
    assert errors[:, 0].max() < 0.15
    assert errors[:, 1].mean() < 3  # degrees


def test_aligning_photographs_of_ffhq_again_changes_little(real_data: Path) -> None:
    errors = np.array(align_aligned(real_data))
    assert len(errors) == 10
    assert errors[:, 0].mean() < 0.05
    assert errors[:, 0].max() < 0.09
    assert abs(errors[:, 2].mean() - 1) < 0.03  # no systematic zoom


def test_the_anime_cascade_of_the_paper_profile_on_our_labels(real_data: Path, pages: list[Picture]) -> None:
    found = outcomes([page.from_px(24) for page in pages], tiled(paper_anime(real_data, 24)))
    assert recall(found) >= 0.38  # 39 of 91
    assert precision(found) >= 0.85  # 39 of 42
    manga = [outcome for outcome in found if "haruko" in outcome.picture.path.name]
    assert recall(manga) >= 0.55  # 32 of 51


def test_pages_without_faces_give_none(real_data: Path, pages: list[Picture]) -> None:
    empty = [page for page in pages if not page.faces]
    assert len(empty) >= 8
    for detector in (paper_anime(real_data, 24), yunet(real_data, 0.8)):
        assert sum(len(outcome.wrong) for outcome in outcomes(empty, tiled(detector))) == 0


def test_yunet_repeats_exactly_on_real_pages_whatever_the_number_of_threads(
    real_data: Path, scenes: list[Picture]
) -> None:
    import cv2

    image = read_image(scenes[0].path)
    detector = yunet(real_data, 0.8)
    once = detector.detect(image)
    cv2.setNumThreads(4)
    assert detector.detect(image) == once


def test_labels_name_at_least_eighty_faces_and_lie_on_their_pages(pages: list[Picture]) -> None:
    entries = json.loads(LABELS.read_text())["pages"]
    assert sum(face.counts for page in pages for face in page.faces) >= 80
    for page, entry in zip(pages, entries, strict=True):
        height, width = read_image(page.path).shape[:2]
        assert entry["size"] == [width, height]
        for face in page.faces:
            box = face.box
            assert 0 <= box.x < box.x + box.width <= width
            assert 0 <= box.y < box.y + box.height <= height


def test_a_cascade_for_photographs_is_of_little_use_on_drawings(pages: list[Picture]) -> None:
    from model.data.faces.detector import shipped_file

    haar = cascade(shipped_file("haarcascade_frontalface_alt2.xml", "a.key"), 1.1, 5)
    assert recall(outcomes(pages, tiled(haar))) < 0.2
