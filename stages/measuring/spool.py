"""Pictures of many cells, drawn batch by batch and read back cell by cell: on disk, so that memory holds one cell."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from model.data.images import UInt8


class Spool:
    """Uint8 pictures of one size, in the order they came."""

    def __init__(self, path: Path) -> None:
        """Start an empty file."""
        self._path = path
        self._shape: tuple[int, ...] = ()
        self._hash = hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")

    def append(self, images: UInt8) -> None:
        """Add pictures ``[N, R, R, 3]``."""
        self._shape = images.shape[1:]
        data = np.ascontiguousarray(images).tobytes()
        self._hash.update(data)
        with self._path.open("ab") as file:  # written, not mapped: a full disk is an error then, not a crash
            file.write(data)

    @property
    def digest(self) -> str:
        """Hash of the pictures: what drew the same needs to be measured once."""
        return self._hash.hexdigest()

    def read(self) -> UInt8:
        """Return all pictures, ``[N, R, R, 3]``."""
        return np.fromfile(self._path, dtype=np.uint8).reshape(-1, *self._shape)
