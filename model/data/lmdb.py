"""Training images in one LMDB file, in the layout that rosinality's StyleGAN2 code and its descendants read.

Key ``{size}-{index:05d}`` holds an encoded image, ``length`` the count in decimal; we add ``meta`` (JSON), which old
readers never ask for. A folder is checked by its manifest before it is mapped: LMDB itself kills the process (SIGBUS)
when its file is shorter than it believes. ``model.data.lmdb_write`` makes such folders.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from model.data.images import UInt8, decode_image
from model.errors import CorruptInputError, MissingInputError
from model.files import MANIFEST, sha256_file, verify_manifest

DATA = "data.mdb"
LENGTH, META = b"length", b"meta"
_MAGIC = 0xBEEFC0DE
_PAGE_HEADER, _META_HEADER, _DATABASE = 16, 24, 48  # bytes, of LMDB's on-disk structures


def key_of(size: int, index: int) -> bytes:
    """Return the key of an image: ``256-00017``."""
    return f"{size}-{index:05d}".encode()


class LmdbImages:
    """Random access to the images of one resolution in an LMDB folder; safe to use after fork and to pickle."""

    def __init__(self, path: Path, resolution: int) -> None:
        """Check the folder and open it.

        Raises: MissingInputError if the folder, its manifest or that resolution is not there (the message lists those
            that are); CorruptInputError naming the file that differs from its manifest, or what the data lacks.
        """
        self.path, self.resolution = path, resolution
        if not path.is_dir():
            raise MissingInputError(f"{path}: no such folder; run the stage `lmdb` that writes it")
        verify_manifest(path)
        self.digest = sha256_file(path / MANIFEST)
        check_complete(path / DATA)
        self._handle = _handle_of(path)
        self._length = self._read_length()
        self._sums = self.meta.get("crc32", {}).get(str(resolution))
        for index in {0, self._length - 1}:
            if self._get(key_of(resolution, index)) is None:
                raise self._not_prepared(index)

    def __len__(self) -> int:
        """Return the number of images."""
        return self._length

    def __getitem__(self, index: int) -> UInt8:
        """Return image ``index`` as uint8 ``[R, R, 3]``.

        Raises: IndexError outside the range; CorruptInputError naming the record if it cannot be decoded.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"{self.path}: image {index} of {self._length}")
        key = key_of(self.resolution, index)
        value = self._get(key)
        name = f"{self.path / DATA}: record {key.decode()}"
        if value is None:
            raise CorruptInputError(f"{name}: missing, though `length` says {self._length}; make the LMDB again")
        if self._sums is not None and zlib.crc32(value) != self._sums[index]:
            raise CorruptInputError(f"{name}: its checksum differs: it was damaged since; make the LMDB again")
        image = decode_image(io.BytesIO(value), name)
        if image.shape[:2] != (self.resolution, self.resolution):
            raise CorruptInputError(f"{name}: {image.shape[1]} x {image.shape[0]} px; make the LMDB again")
        return image

    def read_all(self) -> UInt8:
        """Return every image: uint8 ``[N, R, R, 3]``."""
        images = np.empty((self._length, self.resolution, self.resolution, 3), dtype=np.uint8)
        for index in range(self._length):
            images[index] = self[index]
        return images

    @property
    def meta(self) -> dict[str, Any]:
        """What the writer noted (sizes, codec, resample, sources, crc32); empty for files of other programs."""
        value = self._get(META)
        return {} if value is None else dict(json.loads(value))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the handle behind: every process opens its own."""
        return {**self.__dict__, "_handle": None}

    def _get(self, key: bytes) -> bytes | None:
        if self._handle is None or self._handle.pid != os.getpid():
            self._handle = _handle_of(self.path)
        with self._handle.env.begin() as transaction:
            value = transaction.get(key)
        return None if value is None else bytes(value)

    def _read_length(self) -> int:
        value = self._get(LENGTH)
        if value is None:
            raise CorruptInputError(
                f"{self.path / DATA}: no record `length`: its writing was interrupted; make it again"
            )
        if not value.isdigit() or int(value) < 1:
            raise CorruptInputError(
                f"{self.path / DATA}: record `length` is {value!r}, expected a count; make it again"
            )
        return int(value)

    def _not_prepared(self, index: int) -> Exception:
        sizes = sorted(set(self._sizes()))
        if self.resolution in sizes:
            return CorruptInputError(f"{self.path / DATA}: no image {index} of {self._length}; make the LMDB again")
        found = ", ".join(f"{size} px" for size in sizes) or "none"
        return MissingInputError(
            f"{self.path}: no images of {self.resolution} px (prepared: {found}); "
            f"add {self.resolution} to lmdb.sizes and make it again, or ask for a prepared one"
        )

    def _sizes(self) -> Iterator[int]:
        assert self._handle is not None
        with self._handle.env.begin() as transaction:
            cursor = transaction.cursor()
            found = cursor.first()
            while found:
                size, dash, _ = bytes(cursor.key()).partition(b"-")
                if dash and size.isdigit():
                    yield int(size)
                    found = cursor.set_range(size + b".")  # "." follows "-": the next size, past all of this one
                else:
                    found = cursor.next()


def check_complete(file: Path) -> None:
    """Check from the header alone, before anything maps it, that an LMDB data file is as long as it must be.

    Raises: MissingInputError without the file; CorruptInputError if it is no LMDB file or is truncated.
    """
    if not file.is_file():
        raise MissingInputError(f"{file}: no such file; run the stage `lmdb` that writes it")
    with file.open("rb") as data:
        head = data.read(_PAGE_HEADER + _META_HEADER + 2 * _DATABASE)
        page = struct.unpack_from("<I", head, _PAGE_HEADER + _META_HEADER)[0] if len(head) >= 64 else 0
        if not 512 <= page <= 65_536:
            raise CorruptInputError(f"{file}: not an LMDB file (this machine's byte order, 64-bit); make it again")
        data.seek(0)
        pages = [data.read(page), data.read(page)]
    states = [_read_meta(content) for content in pages if len(content) == page]
    if len(states) != 2 or None in states:
        raise CorruptInputError(f"{file}: not an LMDB file, or cut off in its header; make it again")
    _, last = max(state for state in states if state is not None)
    needed, found = (last + 1) * page, file.stat().st_size
    if found < needed:
        raise CorruptInputError(f"{file}: truncated: {found} bytes of at least {needed}; make it again")


def _read_meta(content: bytes) -> tuple[int, int] | None:
    """Return (transaction, last page) of a meta page. Source: LMDB 0.9, ``struct MDB_meta`` in mdb.c."""
    magic, version = struct.unpack_from("<II", content, _PAGE_HEADER)
    if magic != _MAGIC or version != 1:
        return None
    last, transaction = struct.unpack_from("<QQ", content, _PAGE_HEADER + _META_HEADER + 2 * _DATABASE)
    return transaction, last


class _Handle:
    """One open environment; LMDB allows one per file and process, so readers of the same file share it."""

    def __init__(self, path: Path) -> None:
        self.pid = os.getpid()
        try:
            self.env = lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as error:
            raise CorruptInputError(f"{path / DATA}: LMDB cannot open it ({error}); make it again") from error

    def __del__(self) -> None:
        if hasattr(self, "env"):
            self.env.close()


_HANDLES: WeakValueDictionary[tuple[int, int], _Handle] = WeakValueDictionary()


def _handle_of(path: Path) -> _Handle:
    state = (path / DATA).stat()
    key = (state.st_dev, state.st_ino)
    handle = _HANDLES.get(key)
    if handle is None or handle.pid != os.getpid():
        if handle is not None:
            handle.env.close()  # inherited by fork: this closes only this process's copy
        check_complete(path / DATA)
        handle = _HANDLES[key] = _Handle(path)
    return handle
