"""Random weights in the files' own formats, and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.inception import calibrated
from model.metrics.extractors.inception import clean


def pictures(n: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth ones with a little noise: white noise alone looks the same to every network."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 4, 4, 3)).repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    return np.clip(coarse + rng.integers(-20, 21, coarse.shape), 0, 255).astype(np.uint8)


def inception_file(path: Path) -> Path:
    """A seeded network with calibrated normalisation, so that its features spread; with a head, as the real file."""
    head = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save({**calibrated(clean(pictures(4))).state_dict(), **head}, path)
    return path
