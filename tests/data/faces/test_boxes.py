"""Rectangles: tiles of strips, overlapping faces, what lies in a square."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.faces.boxes import Box, Face, cut_square, distinct, overlap, share_inside, tiles

boxes = st.builds(Box, st.integers(0, 300), st.integers(0, 300), st.integers(8, 90), st.integers(8, 90))
faces = st.builds(Face, boxes, st.floats(0, 1), st.none())


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


def test_a_page_that_is_no_strip_stays_whole() -> None:
    assert tiles(2999, 1000) == [(0, 0, 2999, 1000)]
    assert len(tiles(3000, 1000)) > 1


@given(st.lists(faces, max_size=12))
def test_the_surest_of_overlapping_faces_is_kept_whatever_their_order(found: list[Face]) -> None:
    kept = distinct(found)
    assert distinct(found[::-1]) == kept
    assert distinct(kept) == kept
    assert [face.score for face in kept] == sorted((face.score for face in kept), reverse=True)
    for face in found:
        assert any(face == k or (k.score >= face.score and overlap(face.box, k.box) > (0, 0)) for k in kept)


def test_a_face_in_a_face_is_one_face() -> None:
    whole, part = Face(Box(0, 0, 100, 100), 0.9, None), Face(Box(40, 40, 40, 40), 0.8, None)
    assert overlap(whole.box, part.box) == (0.16, 1.0)
    assert distinct([part, whole]) == [whole]


def test_landmarks_move_with_their_face() -> None:
    face = Face(Box(10, 20, 30, 30), 1.0, ((25.5, 15.0),))
    assert face.moved(down=100, right=7) == Face(Box(110, 27, 30, 30), 1.0, ((32.5, 115.0),))


def test_the_share_inside_is_that_of_the_area() -> None:
    assert share_inside(Box(-5, -5, 10, 10), 100, 100) == 0.25
    assert share_inside(Box(200, 0, 10, 10), 100, 100) == 0


def test_outside_the_page_its_edge_is_repeated() -> None:
    ramp = np.repeat(np.arange(10, dtype=np.uint8)[None, :, None], 10, 0).repeat(3, 2)
    cut = cut_square(ramp, Box(-3, -2, 6, 6))
    assert cut[:, :, 0].tolist() == [[0, 0, 0, 1, 2, 3]] * 6
    assert cut_square(ramp, Box(8, 7, 5, 5))[0, :, 0].tolist() == [7, 8, 9, 9, 9]
