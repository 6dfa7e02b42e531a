"""FFHQ's frame: fixed places for eyes and mouth, whatever the face's position, size and turn on the page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.faces.align import as_points, cut_quad, ffhq_quad, quad_side, share_outside
from model.data.faces.boxes import Points
from model.data.images import UInt8, resize

Float = npt.NDArray[np.float64]

UPRIGHT: Points = ((40.0, 40.0), (60.0, 40.0), (50.0, 50.0), (42.0, 60.0), (58.0, 60.0))
points = st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15))


def similarity(degrees: float, scale: float, move: tuple[float, float]) -> Float:
    """A turn, a change of size and a move, ``[2, 3]``."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, move[0]], [s, c, move[1]]])


def moved(landmarks: Points, by: Float) -> Points:
    return as_points(np.array(landmarks) @ by[:, :2].T + by[:, 2])


def in_crop(place: Float, quad: Float) -> Float:
    """Coordinates in the crop, 0 to 1 from its top left."""
    across, down = quad[3] - quad[0], quad[1] - quad[0]
    return np.array([(place - quad[0]) @ across, (place - quad[0]) @ down]) / quad_side(quad) ** 2


def picture(height: int, width: int, by: Float | None = None) -> UInt8:
    """A smooth picture seen through ``by``, each channel another; nothing in it is finer than about 12 px."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    if by is not None:
        inverse = np.linalg.inv(by[:, :2])
        x, y = np.tensordot(inverse, np.stack([x - by[0, 2], y - by[1, 2]]), 1)
    waves = [np.sin(x / 4 + 1), np.sin(y / 3 - x / 9), np.cos((x + y) / 5)]
    return np.rint(128 + 100 * np.stack(waves, -1)).astype(np.uint8)


def apart(a: UInt8, b: UInt8) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_the_frame_is_the_published_one() -> None:
    # Eyes 20 px apart, mouth 20 px below: half the side is 2 * 20, the centre 0.1 * 20 below the eyes.
    assert ffhq_quad(UPRIGHT, 1.0).tolist() == [[10, 2], [10, 82], [90, 82], [90, 2]]
    # A mouth 40 px below: half the side is 1.8 * 40.
    long = (*UPRIGHT[:3], (42.0, 80.0), (58.0, 80.0))
    assert ffhq_quad(long, 1.0).tolist() == [[-22, -28], [-22, 116], [122, 116], [122, -28]]


@given(st.floats(-170, 170), st.floats(0.2, 8), st.tuples(st.floats(-300, 300), st.floats(-300, 300)))
def test_eyes_are_level_and_have_their_place_however_the_face_lies(
    degrees: float, scale: float, move: tuple[float, float]
) -> None:
    face = np.array(moved(UPRIGHT, similarity(degrees, scale, move)))
    quad = ffhq_quad(as_points(face), 1.0)
    assert in_crop(face[0], quad) == pytest.approx([0.375, 0.475])
    assert in_crop(face[1], quad) == pytest.approx([0.625, 0.475])
    assert in_crop((face[3] + face[4]) / 2, quad) == pytest.approx([0.5, 0.725])


@given(st.lists(points, min_size=5, max_size=5), st.floats(-170, 170), st.floats(0.2, 8))
def test_the_square_turns_grows_and_moves_with_any_face(
    jitter: list[tuple[float, float]], degrees: float, scale: float
) -> None:
    face = as_points(np.array(UPRIGHT) + 20 * np.array(jitter))
    by = similarity(degrees, scale, (30.0, -12.0))
    quad = np.array(moved(as_points(ffhq_quad(face, 1.0)), by))
    assert np.allclose(ffhq_quad(moved(face, by), 1.0), quad, atol=1e-6 * scale)
    sides = np.hypot(*(np.roll(quad, 1, 0) - quad).T)
    assert np.allclose(sides, quad_side(quad))


def test_expand_grows_the_square_around_the_same_centre() -> None:
    small, large = ffhq_quad(UPRIGHT, 1.0), ffhq_quad(UPRIGHT, 1.5)
    assert np.allclose(small.mean(0), large.mean(0))
    assert quad_side(large) == pytest.approx(1.5 * quad_side(small))


def test_sixty_eight_landmarks_give_the_square_of_the_five_they_contain() -> None:
    full = np.full((68, 2), np.nan)  # no other point may matter
    circle = np.array([[np.cos(a), np.sin(a)] for a in np.arange(6) * np.pi / 3])
    full[36:42], full[42:48] = np.array(UPRIGHT[0]) + 3 * circle, np.array(UPRIGHT[1]) + 3 * circle
    full[48], full[54] = UPRIGHT[3], UPRIGHT[4]
    assert np.allclose(ffhq_quad(as_points(full), 1.0), ffhq_quad(UPRIGHT, 1.0))


@pytest.mark.parametrize("landmarks", [
    tuple((x, -y) for x, y in UPRIGHT), ((5.0, 5.0),) * 5, ((float("nan"), 0.0), *UPRIGHT[1:]),
    (UPRIGHT[1], UPRIGHT[0], *UPRIGHT[2:]), (UPRIGHT[0], UPRIGHT[0], *UPRIGHT[2:]),
])  # fmt: skip
def test_landmarks_without_an_upright_are_refused(landmarks: Points) -> None:
    with pytest.raises(ValueError, match="the mouth is not below the eyes"):
        ffhq_quad(landmarks, 1.0)


def test_another_number_of_landmarks_is_refused() -> None:
    with pytest.raises(ValueError, match="5 or 68 landmarks, found 4"):
        ffhq_quad(UPRIGHT[:4], 1.0)


@pytest.mark.parametrize("resolution", [96, 48, 32])
def test_an_upright_square_is_cut_exactly_as_resize_would(resolution: int) -> None:
    page = picture(200, 200)
    quad = np.array([[50, 40], [50, 136], [146, 136], [146, 40]]) - 0.5
    expected = resize(np.ascontiguousarray(page[40:136, 50:146]), resolution)
    assert np.abs(cut_quad(page, quad, resolution).astype(int) - expected).max() <= 1


@settings(deadline=None, max_examples=25)
@given(st.floats(-180, 180), st.floats(0.8, 3))
def test_the_crop_is_the_same_however_the_face_lies_on_the_page(degrees: float, scale: float) -> None:
    square = np.array([[-40, -40], [-40, 40], [40, 40], [40, -40]], dtype=np.float64)
    plain = cut_quad(picture(200, 200, similarity(0, 1, (100, 100))), square + 100, 40)
    size = round(180 * scale) + 40
    by = similarity(degrees, scale, (size / 2, size / 2))
    turned = cut_quad(picture(size, size, by), np.array(moved(as_points(square), by)), 40)
    assert apart(plain, turned) < 2.5


@pytest.mark.parametrize("resolution", [64, 10])  # the smaller one reduces the page first
def test_a_mirrored_face_gives_the_mirrored_crop(resolution: int) -> None:
    page = picture(300, 300)
    face = np.array(moved(UPRIGHT, similarity(20, 1.5, (70, 60))))
    mirror = np.column_stack([299 - face[:, 0], face[:, 1]])[[1, 0, 2, 4, 3]]
    plain = cut_quad(page, ffhq_quad(as_points(face), 1.0), resolution)
    mirrored = cut_quad(np.ascontiguousarray(page[:, ::-1]), ffhq_quad(as_points(mirror), 1.0), resolution)
    assert np.abs(plain[:, ::-1].astype(int) - mirrored).max() <= 1


def test_a_square_of_many_pixels_is_reduced_first_and_shows_the_same() -> None:
    by = similarity(15, 8, (900, 850))
    square = np.array([[-40, -40], [-40, 40], [40, 40], [40, -40]], dtype=np.float64)
    large = cut_quad(picture(1800, 1800, by), np.array(moved(as_points(square), by)), 40)
    small = similarity(15, 1, (100, 100))
    plain = cut_quad(picture(200, 200, small), np.array(moved(as_points(square), small)), 40)
    assert apart(plain, large) < 2.5


def test_the_share_outside_is_that_of_the_area() -> None:
    square = np.array([[-0.5, -0.5], [-0.5, 9.5], [9.5, 9.5], [9.5, -0.5]])
    assert share_outside(square, 10, 10) == pytest.approx(0)
    assert share_outside(square + np.array([5, 0]), 10, 10) == pytest.approx(0.5)
    assert share_outside(square + 50, 10, 10) == 1
    diamond = np.array([[5, -5], [-5, 5], [5, 15], [15, 5]]) - 0.5
    assert share_outside(diamond, 10, 10) == pytest.approx(0.5)


def test_beyond_the_page_its_mirror_image_fades_to_its_median_colour() -> None:
    page = picture(200, 200)
    page[:, :, 0] = page[:, :, 1]  # waves down the page, that go on to all sides
    quad = np.array([[-60, 60], [-60, 140], [20, 140], [20, 60]]) - 0.5  # three quarters of it lie outside
    crop = cut_quad(page, quad, 80).astype(int)
    waves = crop[:, :, 0].std(0)
    assert waves[75] > 60
    assert waves[40] > 20
    assert waves[0] < 12
    assert crop[:, 0, 0].mean() == pytest.approx(np.median(page[50:150, :40, 0]), abs=25)
    assert np.abs(np.diff(crop, axis=1)).max() < 25, "a seam"


def test_what_is_mirrored_is_blurred() -> None:
    page = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    quad = np.array([[-40, 100], [-40, 300], [160, 300], [160, 100]]) - 0.5
    grain = np.abs(np.diff(cut_quad(page, quad, 200).astype(int), axis=0)).mean((0, 2))
    assert grain[25:39].max() < 0.15 * grain[120:].min()  # just outside the page, where it has hardly faded


def test_what_lies_well_inside_the_page_is_not_blurred_by_a_border_elsewhere() -> None:
    page = picture(300, 300)
    inside = np.array([[20, 100], [20, 200], [120, 200], [120, 100]]) - 0.5
    beyond = inside - np.array([40, 0])  # 20 px of it outside the page
    full, part = cut_quad(page, inside, 100), cut_quad(page, beyond, 100)
    assert np.abs(full[:, :40].astype(int) - part[:, 40:80]).max() <= 1


@pytest.mark.parametrize("move", [(-90.0, 0.0), (150.0, 150.0), (0.0, 180.0)])
def test_a_page_of_one_colour_gives_a_crop_of_that_colour(move: tuple[float, float]) -> None:
    page = np.full((200, 200, 3), (90, 120, 30), np.uint8)
    face = moved(UPRIGHT, similarity(30, 1.2, move))
    quad = ffhq_quad(face, 1.0)
    assert 0 < share_outside(quad, 200, 200) < 1
    assert np.abs(cut_quad(page, quad, 32).astype(int) - (90, 120, 30)).max() <= 1
