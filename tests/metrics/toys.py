"""Generators whose faults are known, in two worlds: drawn faces as the shipped style network sees them, and Gaussians.

A world gives features of real images, fresh ones without end (or nearly), and what a generator's picture of an image
would be: the same with slight noise, or drawn towards the mean of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from model.data.synthetic.attributes import sample_attributes
from model.data.synthetic.render import render
from model.metrics.extractors.shipped import open_style_net

Array = np.ndarray
TRAIN, HELDOUT, GENERATED = 200, 80, 400
POOL = TRAIN + HELDOUT + GENERATED
SHRUNK = 0.35  # of an image's difference to the mean image is left by a generator of low variance


@dataclass(frozen=True)
class World:
    """Features of one seed's images: nothing is in two sets."""

    train: Array  # [200, d]
    heldout: Array  # [80, d]
    fresh: Array  # [400, d], of images that nobody saw
    replayed: Array  # [200, d], of the training images with slight noise
    tame: Array  # [400, d], of the fresh images drawn two thirds of the way to the mean image
    noise: Array  # [400, d], what slight noise adds to features


@dataclass(frozen=True)
class Faces:
    """Pictures and their features, computed once."""

    images: Array  # uint8 [680, 64, 64, 3]
    features: Array  # [680, 128]
    noisy: Array  # of the same pictures with slight noise
    tame: Array  # of the same pictures drawn two thirds of the way to their mean


@cache
def faces() -> Faces:
    """Draw the pool of faces."""
    extract = open_style_net()
    images = np.stack([render(sample_attributes(7, index), "flat", 64) for index in range(POOL)])
    noise = np.random.default_rng(0).integers(-3, 4, images.shape)
    mean = images.mean(axis=0)
    noisy, tame = (
        np.clip(changed, 0, 255).round().astype(np.uint8)
        for changed in (images + noise, mean + SHRUNK * (images - mean))
    )
    features, noisy, tame = (extract(some).astype(np.float64) for some in (images, noisy, tame))
    return Faces(images, features, noisy, tame)


def face_world(seed: int) -> World:
    """Deal the pool out anew."""
    pool = faces()
    order = np.random.default_rng(seed).permutation(POOL)
    train, heldout, fresh = np.split(order, [TRAIN, TRAIN + HELDOUT])
    noise = (pool.noisy - pool.features)[fresh]
    return World(
        pool.features[train], pool.features[heldout], pool.features[fresh], pool.noisy[train], pool.tame[fresh], noise
    )


def gaussian_world(seed: int) -> World:
    """Draw from a Gaussian whose spectrum falls like that of features."""
    rng = np.random.default_rng(seed)
    spread = 10.0 / np.sqrt(np.arange(1, 65))
    train, heldout, fresh = (rng.standard_normal((n, 64)) * spread for n in (TRAIN, HELDOUT, GENERATED))
    noise = 0.05 * rng.standard_normal((GENERATED, 64)) * spread
    return World(train, heldout, fresh, train + noise[:TRAIN], SHRUNK * fresh, noise)


WORLDS: dict[str, Callable[[int], World]] = {"faces": face_world, "gaussians": gaussian_world}


def honest(world: World, _: np.random.Generator) -> Array:
    """Draws images of the same world."""
    return world.fresh


def copier(share: float) -> Callable[[World, np.random.Generator], Array]:
    """Gives training images back, with slight noise, in ``share`` of its images, and is honest in the rest."""

    def draw(world: World, rng: np.random.Generator) -> Array:
        copies = round(share * GENERATED)
        return np.concatenate([world.replayed[rng.integers(0, TRAIN, copies)], world.fresh[copies:]])

    return draw


def modes(count: int) -> Callable[[World, np.random.Generator], Array]:
    """Draws ``count`` images over and over, with slight noise."""

    def draw(world: World, rng: np.random.Generator) -> Array:
        return world.fresh[rng.integers(0, count, GENERATED)] + world.noise

    return draw


def tame(world: World, _: np.random.Generator) -> Array:
    """Draws all images two thirds of the way to the mean one."""
    return world.tame


COPIERS = {"memoriser": copier(1.0), "half": copier(0.5), "one in five": copier(0.2)}
COLLAPSED = {"one mode": modes(1), "three modes": modes(3), "ten modes": modes(10), "low variance": tame}
