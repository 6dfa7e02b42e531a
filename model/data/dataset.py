"""Training images as one uint8 array, in memory or mapped, converted batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from model.data.images import UInt8


def to_network(raw: Tensor) -> Tensor:
    """Turn uint8 ``[n, R, R, 3]`` into float32 ``[n, 3, R, R]`` in [-1, 1], contiguous, on the same device.

    On a CPU the result equals ``from_uint8`` bit for bit; CUDA multiplies by 1 / 127.5, so a last bit may differ.
    """
    planes = raw.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return planes.div_(127.5).sub_(1)


class ArrayImages:
    """Images ``[N, R, R, 3]`` uint8 as batches ``[n, 3, R, R]`` in [-1, 1].

    Gathering from an array is many times faster than decoding; ``name`` is what errors call it.
    """

    def __init__(self, images: UInt8, name: str = "images in memory") -> None:
        if images.ndim != 4 or images.dtype != np.uint8 or images.shape[3] != 3:
            raise ValueError(f"{name}: found {images.dtype} {list(images.shape)}, expected uint8 [N, R, R, 3]")
        self.images, self.name = images, name

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def raw(self, indices: Sequence[int]) -> Tensor:
        """Return the images at ``indices`` as they are stored: uint8 ``[len(indices), R, R, 3]``, a copy.

        A quarter of the bytes of ``batch``: what should cross to a device, to be converted there (``to_network``).

        Raises: IndexError naming the first index outside the range.
        """
        outside = [index for index in indices if not 0 <= index < len(self)]
        if outside:
            raise IndexError(f"{self.name}: image {outside[0]} of {len(self)}")
        return torch.from_numpy(self.images.take(np.asarray(indices, dtype=np.int64), axis=0))

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return the images at ``indices``, ``[len(indices), 3, R, R]`` in [-1, 1]."""
        return to_network(self.raw(indices))

    def prefetch(self, indices: Sequence[int]) -> None:
        """Do nothing: an array is read when asked. See ``model.data.prefetch``."""
