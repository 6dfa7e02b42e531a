"""Cascades of OpenCV: settings, files, evidence, repeatability."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.data.faces.cascade import Cascade
from model.data.faces.detector import shipped_file
from model.errors import CorruptInputError
from tests.data.faces.pages import SETTINGS, SHIPPED, cascade, holds, page


def test_every_face_is_found_once_the_surest_first() -> None:
    places = [(20, 20), (500, 30), (40, 300), (450, 310)]
    found = cascade().detect(page(places))
    assert len(found) == 4
    assert all(any(holds(face.box, *place) for face in found) for place in places)
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    assert all(face.landmarks is None for face in found)


def test_a_page_without_faces_gives_none() -> None:
    assert cascade().detect(page([])) == []
    assert cascade().detect(np.zeros((20, 20, 3), np.uint8)) == []


def test_detection_repeats_exactly_whatever_the_number_of_threads() -> None:
    picture = page([(20, 20), (500, 30), (40, 300)])
    once = cascade().detect(picture)
    finder = cascade()
    cv2.setNumThreads(4)
    assert finder.detect(picture) == once


def test_evidence_of_the_mirrored_image_is_added() -> None:
    picture = page([(100, 100)])
    plain, both = cascade().detect(picture)[0], cascade(mirror=True).detect(picture)[0]
    assert both.score > plain.score
    assert holds(both.box, 100, 100)
    assert cascade(mirror=True, min_neighbors=10_000).detect(picture) == []


def test_faces_below_the_smallest_size_are_left_out() -> None:
    picture = page([(100, 100)])
    side = cascade().detect(picture)[0].box.width
    assert cascade(min_face=side + 60).detect(picture) == []


@pytest.mark.parametrize(
    "content", [b"", b"<xml", b"<?xml version='1.0'?><opencv_storage></opencv_storage>", b"\0" * 500]
)
def test_a_broken_cascade_is_named_with_its_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.xml").write_bytes(content)
    with pytest.raises(CorruptInputError, match=r"mine\.xml.*cannot read it as a cascade.*a\.key"):
        Cascade(SETTINGS, tmp_path / "mine.xml", "a.key")


def test_a_cut_cascade_is_named(tmp_path: Path) -> None:
    whole = shipped_file(SHIPPED, "a.key").read_bytes()
    (tmp_path / "cut.xml").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptInputError, match=r"cut\.xml"):
        Cascade(SETTINGS, tmp_path / "cut.xml", "a.key")


@pytest.mark.parametrize("change", [{"scale_factor": 1.0}, {"min_face": 0}, {"min_neighbors": 0}])
def test_impossible_settings_are_refused_by_name(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SETTINGS, **change)  # type: ignore[arg-type]
