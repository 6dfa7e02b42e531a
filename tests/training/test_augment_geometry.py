"""Geometric half of the augmentation: what the maps are, and what they do to pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.training.augment import GEOMETRY, Draws, augment, inverse_maps
from model.training.augment_geometry import identity, rotation, scaling, translation, warp

MANY = 2_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def maps_of(name: str, p: float = 1.0, size: tuple[int, int] = (64, 64)) -> Tensor:
    return inverse_maps(Draws.take(MANY, generator()), p, torch.Size(size), frozenset({name}))


def blobs(size: int = 32) -> Tensor:
    """Smooth picture without any symmetry, ``[1, 3, size, size]``, float64."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")

    def blob(cx: float, cy: float, width: float) -> Tensor:
        return torch.exp(-((x - cx * size).square() + (y - cy * size).square()).double() / (2 * (width * size) ** 2))

    planes = [blob(0.4, 0.35, 0.09), blob(0.6, 0.5, 0.07) - blob(0.4, 0.6, 0.1), blob(0.55, 0.42, 0.12)]
    return torch.stack(planes)[None]


def centroid(image: Tensor) -> tuple[float, float]:
    """Centre of mass (x, y) of the first plane, px."""
    weight = image[0, 0] / image[0, 0].sum()
    y, x = torch.meshgrid(*(torch.arange(n, dtype=image.dtype) for n in weight.shape), indexing="ij")
    return float((weight * x).sum()), float((weight * y).sum())


def test_a_mirrored_image_is_mirrored_left_to_right_alone() -> None:
    maps = maps_of("flip")
    assert set(maps[:, 0, 0].tolist()) == {-1.0, 1.0}
    assert bool((maps[:, 1, 1] == 1).all())


def test_whole_shifts_are_whole_pixels() -> None:
    shifts = maps_of("whole_shift", size=(32, 64))[:, :2, 2]
    assert torch.equal(shifts, shifts.round())


def test_scale_is_the_same_both_ways_and_aspect_keeps_the_area() -> None:
    scale, aspect = maps_of("scale"), maps_of("aspect")
    assert torch.equal(scale[:, 0, 0], scale[:, 1, 1])
    torch.testing.assert_close(aspect[:, 0, 0] * aspect[:, 1, 1], torch.ones(MANY, dtype=torch.float64))


# what is seen in the pictures


@pytest.mark.parametrize(
    ("inverse", "expected"),
    [
        (scaling(torch.tensor([-1.0]), torch.tensor([1.0])), lambda x: x.flip(3)),
        (rotation(torch.tensor([math.pi / 2])), lambda x: x.rot90(1, (2, 3))),
        (rotation(torch.tensor([math.pi])), lambda x: x.flip(2, 3)),
        (rotation(torch.tensor([-math.pi / 2])), lambda x: x.rot90(-1, (2, 3))),
    ],
)
def test_flips_and_quarter_turns_do_not_shift_the_picture(
    inverse: Tensor, expected: Callable[[Tensor], Tensor]
) -> None:
    image = blobs()
    error = warp(image, inverse.double()) - expected(image)
    assert float(error.std() / image.std()) < 0.04  # a shift by 0.4 px would be 0.12


def test_whole_pixel_shifts_copy_pixels_exactly() -> None:
    image = torch.randn(1, 3, 24, 24, dtype=torch.float64)
    moved = warp(image, translation(torch.tensor([3.0]), torch.tensor([-2.0])))
    inside = slice(8, 16)
    torch.testing.assert_close(moved[..., inside, inside], image.roll((2, -3), (2, 3))[..., inside, inside])


def test_a_dot_is_moved_by_the_pixels_the_map_says() -> None:
    image = blobs(64)
    x, y = centroid(image)
    moved_x, moved_y = centroid(warp(image, translation(torch.tensor([-5.5]), torch.tensor([3.25]))))
    assert (moved_x - x, moved_y - y) == pytest.approx((5.5, -3.25), abs=0.01)


def test_a_shift_moves_the_picture_by_up_to_an_eighth_of_its_size_not_by_fractions_of_a_pixel() -> None:
    dots = blobs(64)[:, :1].pow(4).expand(64, 3, -1, -1)  # small: nothing to see at the mirrored edges
    moved = augment(dots, 1.0, generator(), allowed=frozenset({"whole_shift"}))
    start = centroid(dots[:1])
    offsets = torch.tensor([centroid(image[None]) for image in moved]) - torch.tensor(start)
    assert 6.5 < float(offsets[:, 0].abs().max()) < 8.1
    assert 6.5 < float(offsets[:, 1].abs().max()) < 8.1
    torch.testing.assert_close(offsets, offsets.round(), atol=0.05, rtol=0)


def test_general_maps_sample_the_picture_where_they_say() -> None:
    size = 64
    inverse = (
        rotation(torch.tensor([0.5]))
        @ scaling(torch.tensor([1.2]), torch.tensor([0.9]))
        @ translation(torch.tensor([2.3]), torch.tensor([-4.6]))
    )
    position = torch.arange(size, dtype=torch.float64) + 0.5 - size / 2
    y, x = torch.meshgrid(position, position, indexing="ij")
    a = inverse[0]

    def picture(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-((x - 3).square() + 2 * (y + 4).square()) / (2 * 6.0**2))

    image = picture(x, y).expand(1, 3, -1, -1)
    from_x, from_y = a[0, 0] * x + a[0, 1] * y + a[0, 2], a[1, 0] * x + a[1, 1] * y + a[1, 2]
    inside = torch.maximum(from_x.abs(), from_y.abs()) < size / 2 - 4
    error = (warp(image, inverse)[0, 0] - picture(from_x, from_y))[inside]
    assert float(error.abs().max()) < 0.01


def test_a_constant_image_stays_constant_however_it_is_moved() -> None:
    images = torch.full((16, 3, 32, 32), 0.7)
    moved = augment(images, 1.0, generator(), allowed=frozenset(GEOMETRY))
    torch.testing.assert_close(moved, images, atol=1e-5, rtol=0)


def test_images_that_do_not_move_come_back_bit_for_bit() -> None:
    images = torch.randn(3, 3, 16, 16)
    maps = identity(3)
    maps[1, 0, 2] = 1.0
    moved = warp(images, maps)
    assert torch.equal(moved[0], images[0])
    assert torch.equal(moved[2], images[2])
    assert not torch.equal(moved[1], images[1])


def test_an_image_is_treated_the_same_alone_and_in_a_batch() -> None:
    images, maps = torch.randn(4, 3, 16, 16, dtype=torch.float64), maps_of("pre_rotation")[:4]
    torch.testing.assert_close(warp(images, maps)[2:3], warp(images[2:3], maps[2:3]))
