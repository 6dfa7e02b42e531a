"""Reducing images folds no fine pattern into a coarse one: rings too fine for the result become grey (a zone plate)."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from model.data.faces.align import cut_quad
from model.data.images import UInt8, resize

PAGE = 1024  # px
GREY, HEIGHT = 127.5, 110.0  # mean and amplitude of the rings
Way = Callable[[UInt8, int], UInt8]


def zone_plate(size: int) -> UInt8:
    """Rings whose frequency grows evenly from 0 in the middle to Nyquist's, half a wave per px, at the borders."""
    line = np.arange(size) - (size - 1) / 2
    radius2 = line[:, None] ** 2 + line[None] ** 2
    rings = np.cos(np.pi * radius2 / size)  # the phase's slope is 2 pi r / size: pi at r = size / 2
    return np.rint(GREY + HEIGHT * rings).astype(np.uint8)[:, :, None].repeat(3, 2)


def frequency(size: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The page's frequency at each px of a result of ``size``, in that result's Nyquist frequencies."""
    line = (np.arange(size) - (size - 1) / 2) / (size / 2)
    return np.hypot(line[:, None], line[None]) * PAGE / size


def kept(image: UInt8, size: int) -> tuple[float, float]:
    """Contrast left of rings well below the result's Nyquist frequency, and of those well above it (1 = all)."""
    at = frequency(size)
    inside = np.hypot(*(np.mgrid[:size, :size] - (size - 1) / 2)) < size / 2 - 2  # corners: over the page's own limit
    contrast = (image[:, :, 0] - GREY) / HEIGHT * np.sqrt(2)
    return float(contrast[at < 0.6].std()), float(contrast[(at > 1.5) & inside].std())


def aligned(turn: float) -> Way:
    """The warp of FFHQ's frame, taking the whole page turned by ``turn`` degrees; its rings look the same."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    square = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * PAGE / 2 @ np.array([[c, s], [-s, c]])
    return lambda image, size: cut_quad(image, square + (PAGE - 1) / 2, size)


def plain(how: int) -> Way:
    return lambda image, size: np.asarray(cv2.resize(image, (size, size), interpolation=how), dtype=np.uint8)


def warped(image: UInt8, size: int) -> UInt8:
    """A warp without antialiasing, which is what an affine transform does when left alone."""
    turn = (image.shape[1] / size, 0, 0, 0, image.shape[0] / size, 0)
    drawn = Image.fromarray(image).transform((size, size), Image.Transform.AFFINE, turn, Image.Resampling.BICUBIC)
    return np.array(drawn, dtype=np.uint8)


OURS: dict[str, Way] = {"resize": resize, "align": aligned(0), "align, turned": aligned(33)}
CARELESS: dict[str, Way] = {
    "nearest": plain(cv2.INTER_NEAREST), "bilinear": plain(cv2.INTER_LINEAR), "bicubic": plain(cv2.INTER_CUBIC),
    "warp": warped,
}  # fmt: skip
SIZES = [512, 320, 200, 120]  # 120: the aligned page is reduced before it is turned


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", OURS)
def test_rings_too_fine_for_the_result_become_grey_and_coarse_ones_stay(way: str, size: int) -> None:
    coarse, fine = kept(OURS[way](zone_plate(PAGE), size), size)
    assert coarse > 0.8
    assert fine < 0.04


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("way", CARELESS)
def test_interpolation_alone_fails_the_same_test(way: str, size: int) -> None:
    assert kept(CARELESS[way](zone_plate(PAGE), size), size)[1] > 0.2
