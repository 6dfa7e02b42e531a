from __future__ import annotations

import numpy as np
import pytest

from model.metrics.extractors.base import PatchExtractor
from model.metrics.extractors.cached import CachedPatches, cached

DIM = 3
ROW = DIM * 4  # bytes


class Counting:
    """Counts what it is shown."""

    name, weights_sha256, preprocess_id, dim = "counting-0", "0" * 64, "none-v1", DIM

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.shown += len(images)
        return images.reshape(len(images), -1, 3).mean(axis=1).astype(np.float32)


class Places(Counting):
    def patches(self, images: np.ndarray) -> np.ndarray:
        self.shown += len(images)
        return images.reshape(len(images), -1, 3)[:, :4].astype(np.float32)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)


def test_identical_pictures_are_measured_once_whatever_batch_they_come_in() -> None:
    inner, images = Counting(), pictures(10)
    extractor = cached(inner, 10**6)
    first = extractor(images)
    again = np.concatenate([extractor(images[i : i + 3]) for i in range(0, 10, 3)])
    assert np.array_equal(first, inner(images))
    assert np.array_equal(first, again)
    assert (extractor.taken, inner.shown) == (10, 20)  # ten of them were shown to it above
    twice = np.concatenate([pictures(2, 1), pictures(2, 1)])
    assert np.array_equal(extractor(twice)[:2], extractor(twice)[2:])
    assert extractor.taken == 12


def test_a_picture_of_another_shape_is_another_picture() -> None:
    extractor = cached(Counting(), 10**6)
    extractor(pictures(1))
    extractor(pictures(1).reshape(1, 2, 8, 3))
    assert extractor.taken == 2


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first() -> None:
    extractor, images = cached(Counting(), 3 * ROW), pictures(4)
    extractor(images[:3])
    extractor(images[:1])  # used again
    extractor(images[3:])  # pushes out the second
    extractor(images[[0, 2, 3]])
    assert extractor.taken == 4
    extractor(images[1:2])
    assert extractor.taken == 5
    small = cached(Counting(), 0)
    assert np.array_equal(small(images), extractor(images))
    small(images)
    assert small.taken == 8


def test_a_result_that_the_caller_changes_does_not_change_what_is_kept() -> None:
    extractor, images = cached(Counting(), 10**6), pictures(2)
    first = extractor(images)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(extractor(images), kept)


def test_patches_are_kept_apart_from_features_and_only_where_there_are_any() -> None:
    extractor, images = cached(Places(), 10**6), pictures(5)
    assert isinstance(extractor, CachedPatches)
    assert isinstance(extractor, PatchExtractor)
    assert extractor.patches(images).shape == (5, 4, 3)
    assert extractor(images).shape == (5, 3)
    extractor.patches(images)
    assert extractor.taken == 10
    assert not isinstance(cached(Counting(), 1), PatchExtractor)
    assert extractor.name == "counting-0"


def test_no_images_are_the_extractors_to_refuse() -> None:
    class Refusing(Counting):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            raise ValueError("no images")

    with pytest.raises(ValueError, match="no images"):
        cached(Refusing(), 1)(pictures(1)[:0])
