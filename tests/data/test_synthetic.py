"""The synthetic face world: attributes, photographs, drawings and comic pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from model.data.synthetic.attributes import VECTOR_NAMES, FaceAttributes, sample_attributes, stream
from model.data.synthetic.drawn import FLAT, INK
from model.data.synthetic.geometry import LANDMARK_NAMES, Face, landmarks
from model.data.synthetic.layout import PAGE_HEIGHT, PAGE_WIDTH, panels
from model.data.synthetic.pages import comic_page
from model.data.synthetic.render import STYLES, render

DRAWN = ("flat", "ink")


@pytest.fixture(scope="module")
def cascade() -> Iterator[cv2.CascadeClassifier]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # its pool waits long for cores that others use
    yield cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"))
    cv2.setNumThreads(threads)


def plain_face() -> FaceAttributes:
    """A frontal face in the middle of every range, with everything that can be changed in sight."""
    middle: dict[str, Any] = {f.name: 0.4 for f in fields(FaceAttributes) if f.name not in ("seed", "index", "glasses")}
    return FaceAttributes(**{**middle, "seed": 0, "index": 0, "glasses": 0, "yaw": 0.0, "pitch": 0.0, "roll": 0.0})


def found(cascade: cv2.CascadeClassifier, picture: np.ndarray, squares: list[tuple[int, int, int, int]]) -> list[bool]:
    """For each framing square, whether the cascade finds the face in it."""
    grey = cv2.equalizeHist(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(48, 48))
    return [any(_is_of(box, square) for box in boxes) for square in squares]


def _is_of(box: Sequence[int], square: tuple[int, int, int, int]) -> bool:
    (x, y, w), (left, top, side) = box[:3], square[:3]
    across, down = (x + w / 2 - left) / side, (y + w / 2 - top) / side
    return bool(abs(across - 0.5) < 0.22 and abs(down - 0.55) < 0.2 and 0.4 < w / side < 1.05)


def test_a_face_depends_on_its_seed_and_index_and_not_on_what_was_drawn_before() -> None:
    forwards = [sample_attributes(4, i) for i in range(8)]
    backwards = [sample_attributes(4, i) for i in reversed(range(8))]
    assert forwards == backwards[::-1]
    assert len({replace(a, index=0) for a in forwards}) == 8
    assert replace(sample_attributes(5, 3), seed=4) != sample_attributes(4, 3)


def test_purposes_have_separate_random_streams() -> None:
    assert stream(0, 1, 7).random() != stream(0, 2, 7).random()
    assert stream(0, 1, 7).random() == stream(0, 1, 7).random()


def test_attributes_are_drawn_independently_of_each_other() -> None:
    names = [f.name for f in fields(FaceAttributes) if f.name not in ("seed", "index")]
    faces = [sample_attributes(1, i) for i in range(3000)]
    table = np.array([[getattr(a, name) for name in names] for a in faces], dtype=np.float64)
    correlation = np.corrcoef(table.T) - np.eye(len(names))
    assert len(names) >= 16
    assert np.abs(correlation).max() < 0.08  # 4.4 standard errors


def test_the_vector_has_one_scaled_number_per_name() -> None:
    vectors = np.stack([sample_attributes(2, i).vector() for i in range(400)])
    assert vectors.dtype == np.float32
    assert vectors.shape[1] == len(VECTOR_NAMES)
    assert np.abs(vectors).max() <= 1.0
    assert (vectors.std(axis=0) > 0.4).all()


@pytest.mark.parametrize("style", STYLES)
def test_every_attribute_of_the_vector_shows_in_every_style(style: str) -> None:
    base = plain_face()
    before = render(base, style, 64).astype(np.int64)
    for name in VECTOR_NAMES:
        value = 1 if name == "glasses" else -0.5 if name in ("yaw", "pitch", "roll", "parting", "gaze") else 0.9
        change: dict[str, Any] = {name: value}
        after = render(replace(base, **change), style, 64).astype(np.int64)
        assert (np.abs(after - before).max(axis=2) > 12).sum() >= 4, name


@pytest.mark.parametrize("style", STYLES)
def test_equal_arguments_give_equal_bytes(style: str) -> None:
    attrs = sample_attributes(0, 12)
    first, second = render(attrs, style, 64), render(attrs, style, 64)
    assert first.dtype == np.uint8
    assert first.shape == (64, 64, 3)
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("style", STYLES)
def test_a_face_has_the_same_framing_at_every_size(style: str) -> None:
    attrs = sample_attributes(0, 5)
    small = render(attrs, style, 64).astype(np.float64)
    large = cv2.resize(render(attrs, style, 256), (64, 64), interpolation=cv2.INTER_AREA).astype(np.float64)
    assert np.abs(small - large).mean() < 6.0  # screentone falls differently on coarser pixels


def test_styles_are_far_apart_and_only_ink_has_no_hues() -> None:
    attrs = sample_attributes(0, 3)
    pictures = {style: render(attrs, style, 64).astype(np.float64) for style in STYLES}
    for a, b in (("photo", "flat"), ("photo", "ink"), ("flat", "ink")):
        assert np.abs(pictures[a] - pictures[b]).mean() > 12.0
    chroma = {style: float(np.ptp(picture, axis=2).mean()) for style, picture in pictures.items()}
    assert chroma["ink"] < 15.0 < chroma["flat"]


def test_an_unknown_style_or_size_is_named() -> None:
    with pytest.raises(ValueError, match=r"'oil'.*photo, flat, ink"):
        render(sample_attributes(0, 0), "oil", 64)
    with pytest.raises(ValueError, match="8 px"):
        render(sample_attributes(0, 0), "photo", 8)
    with pytest.raises(ValueError, match=r"'photo'.*flat, ink"):
        comic_page(0, 0, "photo")


def test_landmarks_lie_inside_the_frame_with_the_chin_near_the_bottom() -> None:
    points = np.stack([landmarks(sample_attributes(6, i)) for i in range(500)])
    assert points.shape[1:] == (len(LANDMARK_NAMES), 2)
    assert points.dtype == np.float32
    assert points.min() > 0.05
    assert points.max() < 0.97
    assert 0.84 < points[:, LANDMARK_NAMES.index("chin"), 1].mean() < 0.92


@pytest.mark.parametrize("style", STYLES)
def test_the_eye_landmarks_are_on_the_dark_of_the_eyes(style: str) -> None:
    for index in range(24):
        attrs = replace(sample_attributes(8, index), glasses=0, skin=0.8)
        grey = render(attrs, style, 128).mean(axis=2)
        for x, y in landmarks(attrs)[:2] * 128:
            eye = grey[int(y) - 4 : int(y) + 5, int(x) - 6 : int(x) + 7]
            cheek = grey[int(y) + 14 : int(y) + 20, int(x) - 3 : int(x) + 4]
            assert eye.min() < 0.5 * cheek.mean()


@pytest.mark.parametrize("style", [FLAT, INK])
def test_drawn_features_keep_their_places_and_grow_about_them(style: object) -> None:
    for index in range(50):
        attrs = sample_attributes(9, index)
        drawn, points = Face(attrs, style), landmarks(attrs)  # type: ignore[arg-type]
        centres = np.stack([drawn.eye(side).mean(axis=0) for side in (-1, 1)])
        assert np.abs(centres - points[:2]).max() < 0.03
        upper, _, lower = drawn.mouth()
        assert abs(upper[17:, 1].mean() - points[7:9, 1].mean()) < 0.03
        assert abs(lower[25:, 1].max() - points[10, 1]) < 0.03
        assert abs(drawn.outline()[:, 1].max() - points[11, 1]) < 0.03
        assert np.ptp(drawn.eye(1), axis=0).prod() > 1.8 * np.ptp(Face(attrs).eye(1), axis=0).prod()


def test_the_photographs_are_still_those_that_the_shipped_networks_learnt_from() -> None:
    thumbs = [
        render(sample_attributes(0, i), "photo", 64).reshape(4, 16, 4, 16, 3).mean(axis=(1, 3, 4)) for i in (0, 1)
    ]
    assert np.abs(np.stack(thumbs).reshape(2, 16) - np.array(PHOTO_THUMBS)).max() < 1.5


PHOTO_THUMBS = (
    (148.8, 111.7, 109.1, 169.1, 124.9, 125.3, 152.4, 138.2, 112.7, 158.5, 169.3, 129.3, 133.4, 115.7, 123.2, 153.1),
    (119.2, 70.5, 74.0, 118.4, 93.5, 72.6, 109.9, 93.8, 87.7, 88.2, 122.0, 74.8, 95.6, 66.5, 86.6, 81.0),
)


def test_the_cascade_finds_photographs(cascade: cv2.CascadeClassifier) -> None:
    hits = 0
    for index in range(40):
        picture = render(sample_attributes(3, index), "photo", 128)
        padded = cv2.copyMakeBorder(picture, 40, 40, 40, 40, cv2.BORDER_REPLICATE)
        hits += found(cascade, padded, [(40, 40, 128, 128)])[0]
    assert hits >= 33


@pytest.mark.parametrize("style", DRAWN)
def test_the_cascade_finds_drawn_faces_on_pages(cascade: cv2.CascadeClassifier, style: str) -> None:
    results = []
    for index in range(6):
        page = comic_page(0, index, style)
        results += found(cascade, page.image, [face.box for face in page.faces])
    assert len(results) > 20
    assert np.mean(results) > 0.84


def test_pages_have_three_to_six_panels_of_varied_layout() -> None:
    layouts = [panels(stream(0, 3, index)) for index in range(60)]
    assert {len(layout) for layout in layouts} == {3, 4, 5, 6}
    corners = np.concatenate([panel.corners for layout in layouts for panel in layout])
    assert corners.min() >= 0
    assert (corners.max(axis=0) <= (PAGE_WIDTH, PAGE_HEIGHT)).all()
    slanted = [panel for layout in layouts for panel in layout if panel.corners[1, 0] != panel.corners[2, 0]]
    assert slanted


@pytest.mark.parametrize("style", DRAWN)
def test_faces_on_pages_stand_inside_their_panels_and_match_their_framing(style: str) -> None:
    page = comic_page(1, 4, style)
    assert page.image.shape == (PAGE_HEIGHT, PAGE_WIDTH, 3)
    assert len(page.panels) <= len(page.faces) <= 2 * len(page.panels)
    for face in page.faces:
        x, y, side, height = face.box
        assert side == height >= 96
        assert any(p.left <= x and x + side <= p.right and p.top <= y and y + side <= p.bottom for p in page.panels)
        crop = cv2.resize(page.image[y : y + side, x : x + side], (64, 64), interpolation=cv2.INTER_AREA)
        inside = np.s_[20:52, 20:44]  # the face without what is behind it
        a, b = crop[inside].astype(np.float64).ravel(), render(face.attrs, style, 64)[inside].astype(np.float64).ravel()
        assert np.corrcoef(a, b)[0, 1] > 0.9


@pytest.mark.parametrize("style", DRAWN)
def test_a_page_depends_on_its_arguments_alone(style: str) -> None:
    first = comic_page(2, 5, style)
    other = comic_page(2, 6, style)
    assert comic_page(2, 5, style).image.tobytes() == first.image.tobytes() != other.image.tobytes()
    assert not {face.attrs for face in first.faces} & {face.attrs for face in other.faces}
