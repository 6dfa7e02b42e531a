"""Small images and LMDB folders of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.data.images import UInt8
from model.data.lmdb_write import Packing, Written, write_lmdb

SIZE = 16


def pictures(count: int = 8, size: int = SIZE) -> list[UInt8]:
    return list(np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def write(out: Path, images: list[UInt8], codec: str = "png", workers: int = 1, map_size: int = 0) -> Written:
    names = [f"{index}.png" for index in range(len(images))]
    return write_lmdb(out, images, names, Packing([SIZE], codec, workers), map_size)
