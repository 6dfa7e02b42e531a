"""Near duplicates: copies are found, other pictures are not, the first is the one that stays."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from model.data.duplicates import near_duplicates, perceptual_hash
from model.data.images import UInt8
from tests.stages.world import face

BITS = 5


def apart(one: UInt8, other: UInt8) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


def jpeg(image: UInt8, quality: int) -> UInt8:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer))


@pytest.mark.parametrize("index", range(5))
def test_copies_differ_by_few_bits_and_other_faces_by_many(index: int) -> None:
    image = face(index, 128)
    copies = [jpeg(image, 40), face(index, 96), np.clip(image * 0.9, 0, 255).astype(np.uint8)]
    assert max(apart(image, copy) for copy in copies) <= BITS
    assert min(apart(image, face(index + other, 128)) for other in (5, 6, 7)) > BITS


def test_groups_are_of_what_is_near_the_first_and_nothing_is_in_two() -> None:
    hashes = [0b0, 0b111111111111, 0b11, 0b1111, 0b111111111110, 1 << 63]
    assert near_duplicates(hashes, 2) == [[0, 2, 5], [1, 4]]
    assert near_duplicates(hashes, 0) == []
    assert near_duplicates([7, 7, 7], 0) == [[0, 1, 2]]
    assert near_duplicates([], 5) == []


def test_a_slow_change_ends_a_group_so_that_a_film_keeps_some_of_its_frames() -> None:
    drift = [(1 << n) - 1 for n in range(13)]  # neighbours differ by one bit
    assert [group[0] for group in near_duplicates(drift, 3)] == [0, 4, 8]


def test_groups_are_those_of_a_plain_comparison_of_every_pair() -> None:
    draw = np.random.default_rng(0)
    hashes = [int(value) for value in draw.integers(0, 4096, 300)]  # 12 bits, so that many are near
    groups: list[list[int]] = []
    for index, value in enumerate(hashes):
        for group in groups:
            if (hashes[group[0]] ^ value).bit_count() <= 2:
                group.append(index)
                break
        else:
            groups.append([index])
    assert near_duplicates(hashes, 2) == [group for group in groups if len(group) > 1]
