"""Tiny stand-ins for the face world: bright discs whose place and size are the attributes."""

from __future__ import annotations

import numpy as np

from model.metrics.augment import Jitter
from model.metrics.fit import ProbeSet

STILL = Jitter(
    scale=0.0, shift=0.0, rotate=0.0, brightness=0.0, contrast=0.0, tint=0.0, grey=0.0, blur=0.0, noise=0.0, warp=0.0
)
LIVELY = Jitter(
    scale=0.1, shift=0.05, rotate=5.0, brightness=0.1, contrast=0.1, tint=0.1, grey=1.0, blur=1.0, noise=0.1, warp=0.02
)


def probe_set(faces: int, seed: int = 0) -> ProbeSet:
    rng = np.random.default_rng(seed)
    vectors = rng.uniform(-1, 1, (faces, 2)).astype(np.float32)
    rows, columns = np.mgrid[:64, :64] / 64
    x, radius = 0.5 + 0.2 * vectors[:, 0], 0.15 + 0.05 * vectors[:, 1]
    inside = (rows - 0.5) ** 2 + (columns - x[:, None, None]) ** 2 < (radius**2)[:, None, None]
    dark, light = np.where(inside, 60, 20), np.where(inside, 230, 120)
    images = np.stack([dark, light], axis=1)[..., None].repeat(3, axis=-1).astype(np.uint8)
    points = np.stack([np.stack([x + s * radius, np.full_like(x, 0.5)], axis=1) for s in (-1, 1)], axis=1)
    names = (("dark", "light"), ("place", "size"), ("left_eye", "right_eye"))
    return ProbeSet(images, vectors, points.astype(np.float32), *names)
