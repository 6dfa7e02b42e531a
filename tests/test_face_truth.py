"""How detectors are judged, and the labels they are judged by (the pictures themselves are not needed)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.face_truth import (
    LABELS,
    Picture,
    Truth,
    after,
    by_centre,
    by_overlap,
    fitted,
    judge,
    precision,
    recall,
    why_hard,
)
from benchmarks.faces import difference
from model.data.faces.align import ffhq_quad
from model.data.faces.boxes import Box, Face


def truth(x: int, y: int, side: int = 100, counts: bool = True) -> Truth:
    return Truth(Box(y, x, side, side), None, counts, "any")


def face(x: int, y: int, side: int = 100, score: float = 1.0) -> Face:
    return Face(Box(y, x, side, side), score, None)


def picture(*faces: Truth) -> Picture:
    return Picture(Path("page.png"), faces)


def test_a_face_found_twice_is_right_once_and_wrong_once() -> None:
    outcome = judge(picture(truth(0, 0), truth(300, 0)), [face(5, 5), face(8, 8, score=0.5)], by_overlap)
    assert [pair[0].score for pair in outcome.pairs] == [1.0]
    assert [wrong.score for wrong in outcome.wrong] == [0.5]
    assert (recall([outcome]), precision([outcome])) == (0.5, 0.5)


def test_what_does_not_count_is_neither_missed_nor_wrong() -> None:
    page = picture(truth(0, 0, counts=False), truth(300, 0, side=20))
    outcome = judge(page.from_px(24), [face(20, 20, 60), face(300, 0, 18)], by_overlap)
    assert (outcome.pairs, outcome.missed, outcome.wrong) == ([], [], [])


def test_a_constant_change_of_all_boxes_is_found_and_undone() -> None:
    page = picture(truth(0, 0), truth(300, 50, 200))
    found = [face(15, -20, 60), face(330, 10, 120)]  # narrower and higher, each time in the same proportion
    loose = judge(page, found, by_centre)
    assert len(loose.pairs) == 2
    assert judge(page, found, by_overlap).pairs == []
    assert recall([judge(page, found, after(fitted([loose])))]) == 1


def test_centres_far_apart_and_sizes_too_different_are_another_face() -> None:
    assert by_centre(Box(0, 40, 100, 100), Box(0, 0, 100, 100))
    assert not by_centre(Box(0, 60, 100, 100), Box(0, 0, 100, 100))
    assert not by_centre(Box(30, 30, 40, 40), Box(0, 0, 100, 100))


def test_squares_are_compared_by_corners_turn_and_side() -> None:
    points = ((40.0, 40.0), (60.0, 40.0), (50.0, 50.0), (42.0, 60.0), (58.0, 60.0))
    quad = ffhq_quad(points, 1.0)
    assert difference(quad, quad) == (0, 0, 1)
    corner, turn, side = difference(quad + 8, quad)
    assert (corner, turn, side) == pytest.approx((8 * 2**0.5 / 80, 0, 1))
    assert difference(ffhq_quad(points, 1.5), quad)[2] == pytest.approx(1.5)


def test_labels_hold_at_least_eighty_faces_that_count_all_within_their_pages() -> None:
    pages = json.loads(LABELS.read_text())["pages"]
    faces = [(page, entry) for page in pages for entry in page["faces"]]
    counting = [entry for _, entry in faces if entry["kind"] == "human" and not entry["ignore"]]
    assert len(counting) >= 80
    assert min(max(entry["box"][2:]) for entry in counting) >= 24
    assert sum(not page["faces"] for page in pages) >= 8
    for page, entry in faces:
        x, y, width, height = entry["box"]
        assert 0 <= x < x + width <= page["size"][0]
        assert 0 <= y < y + height <= page["size"][1]
        assert entry["view"] in ("frontal", "three-quarter", "profile", "back")
        assert why_hard(entry, page)
