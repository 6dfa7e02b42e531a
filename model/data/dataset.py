"""Training images in memory: uint8, decoded once, converted batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from model.data.images import UInt8, from_uint8


class ArrayImages:
    """Images ``[N, R, R, 3]`` uint8 as batches ``[n, 3, R, R]`` in [-1, 1].

    A cartoon set is small (a thousand images of 256 px are 200 MB), and gathering from an array is several times faster
    than decoding.
    """

    def __init__(self, images: UInt8) -> None:
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != 3:
            raise ValueError(f"images: found {images.dtype} {list(images.shape)}, expected uint8 [N, R, R, 3]")
        self.images = images

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at ``indices``, ``[len(indices), 3, R, R]`` in [-1, 1]."""
        return from_uint8(self.images[np.asarray(indices)])
