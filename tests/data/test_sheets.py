"""Contact sheets show the pixels they are given, whole and unsmoothed."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.images import UInt8
from model.data.sheets import BACKGROUND, draw_boxes, fit, sheet, stack


def tile(value: int, size: int = 8) -> UInt8:
    return np.full((size, size, 3), value, np.uint8)


def area(image: UInt8, value: int) -> int:
    return int((image == value).all(2).sum())


def test_tiles_are_enlarged_by_repeating_pixels() -> None:
    image = sheet([[tile(11), tile(22)], [tile(33)]], ["a", "b"], ["x", "y"], "title", scale=3)
    assert [area(image, value) for value in (11, 22, 33)] == [24 * 24] * 3


def test_every_label_makes_a_mark_and_room() -> None:
    bare = sheet([[tile(11)]], [], [], "")
    for arguments in ((["row"], [], ""), ([], ["column"], ""), ([], [], "title")):
        labelled = sheet([[tile(11)]], *arguments)
        assert labelled.size > bare.size
        assert (labelled.min(2) < 100).sum() > 64 + 10
    captioned = sheet([[tile(11)]], [], [], "", [["note"]])
    assert captioned.shape[0] > bare.shape[0]


def test_long_labels_stay_in_their_column() -> None:
    image = sheet([[tile(11, 64)] * 2], [], ["an_endless_word_without_any_space_in_it", "b"], "")
    assert image.shape[1] == sheet([[tile(11, 64)] * 2], [], ["a", "b"], "").shape[1]


def test_ragged_rows_gaps_and_mixed_sizes_are_drawn() -> None:
    image = sheet([[tile(11), None, tile(22, 4)], [tile(33)]], [], [], "")
    assert [area(image, value) for value in (11, 22, 33)] == [64, 16, 64]
    assert (image[0, 0] == BACKGROUND).all()


@pytest.mark.parametrize(("arguments", "message"), [
    (([], [], [], ""), "at least one image"),
    (([[None]], [], [], ""), "at least one image"),
    (([[tile(1)]], ["a", "b"], [], ""), "2 row labels for 1 rows"),
    (([[tile(1)]], [], ["a", "b"], ""), "2 column labels for 1 columns"),
    (([[tile(1)]], [], [], "", None, 0), "scale 0"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sheet(*arguments)  # type: ignore[arg-type]


def test_sheets_are_stacked_boxed_and_reduced() -> None:
    assert stack([tile(1, 10), tile(2, 20)]).shape == (30, 20, 3)
    boxed = draw_boxes(tile(0, 40), [(5, 5, 20, 20)], (255, 0, 0))
    assert (boxed[5, 10] == (255, 0, 0)).all()
    assert (boxed[15, 15] == 0).all()
    assert fit(tile(1, 100), 50).shape == (50, 50, 3)
    assert fit(tile(1, 10), 50).shape == (10, 10, 3)
