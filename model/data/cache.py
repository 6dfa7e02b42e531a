"""Decoded images in one memory-mapped file beside the LMDB they came from.

The LMDB is what is published and kept; the cache is made from it when it is missing and can be deleted at any time.
Every process that maps it shares one copy in the page cache: no training holds a dataset in memory of its own.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from model.data.dataset import ArrayImages
from model.data.lmdb import LmdbImages
from model.errors import CorruptInputError, MissingInputError, ResourceError
from model.files import MANIFEST, publish_folder, verify_manifest
from model.progress import track

IMAGES = "images.npy"
FREE = 64 << 20  # bytes left over on the disk, for what else the training writes

log = logging.getLogger(__name__)


class MappedImages(ArrayImages):
    """The images of a cache folder, mapped read-only: nothing is read before it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Check the whole file against its manifest, then map it.

        Raises: MissingInputError or CorruptInputError naming what is missing or differs.
        """
        manifest = verify_manifest(folder)
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        if images.shape != tuple(manifest["shape"]):
            raise CorruptInputError(
                f"{folder / IMAGES}: {list(images.shape)}, but {MANIFEST} says {manifest['shape']}; delete {folder}"
            )
        super().__init__(np.asarray(images), str(folder / IMAGES))
        self.folder = folder


def map_lmdb(lmdb: LmdbImages, cache: Path) -> MappedImages:
    """Map the decoded images of ``lmdb``, decoding them into ``cache`` first if they are not there.

    One process decodes, others wait for it. What is damaged is decoded again; what an older LMDB at the same path left
    is deleted.

    Args:
        lmdb: the opened, verified LMDB.
        cache: a folder outside DVC outs; the cache's own folder in it is named by the LMDB's digest and resolution.

    Returns: the images, in the LMDB's order.
    Raises: ResourceError if the disk is too full; CorruptInputError naming a record that cannot be decoded.
    """
    folder = cache / f"{lmdb.digest[:16]}-{lmdb.resolution}"
    try:
        return MappedImages(folder)  # the usual case takes no lock: a published folder is whole
    except (CorruptInputError, MissingInputError):
        with _alone(cache / f".{folder.name}.lock"):
            return _opened(folder) or _decode(lmdb, folder)


def _opened(folder: Path) -> MappedImages | None:
    try:
        return MappedImages(folder)
    except (CorruptInputError, MissingInputError) as error:
        if folder.exists():
            log.warning("%s; decoding the images again", str(error).partition(";")[0])
        return None


def _decode(lmdb: LmdbImages, folder: Path) -> MappedImages:
    shape = (len(lmdb), lmdb.resolution, lmdb.resolution, 3)
    needed, free = int(np.prod(shape)) + FREE, shutil.disk_usage(folder.parent).free
    full = f"{folder}: the disk is full: {needed >> 20} MiB needed; free space and run again"
    if free < needed:
        raise ResourceError(f"{full} ({free >> 20} MiB are free)")
    origin = {"kind": "decoded images", "lmdb": str(lmdb.path), "digest": lmdb.digest, "shape": shape}
    try:
        # Written, not mapped: on a full disk a write fails with a message, a mapping with SIGBUS.
        with publish_folder(folder, origin) as out, (out / IMAGES).open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for index in track(range(len(lmdb)), "decode images", unit="images"):
                file.write(lmdb[index].tobytes())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(f"{full} ({error.strerror})") from error
        raise
    _drop_older(folder)
    return MappedImages(folder)


def _drop_older(folder: Path) -> None:
    """Delete the caches of what stood at the same path before: nothing will ask for them again."""
    mine = json.loads((folder / MANIFEST).read_text())
    for manifest in folder.parent.glob(f"*/{MANIFEST}"):
        try:
            other = json.loads(manifest.read_bytes())
        except ValueError:
            continue  # damaged: who needs it makes it again
        same_place = other["lmdb"] == mine["lmdb"] and other["shape"][1:] == mine["shape"][1:]
        if same_place and other["digest"] != mine["digest"]:
            shutil.rmtree(manifest.parent)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold ``lock``, which dies with the process; wait for whoever has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process is decoding the images; waiting for it", lock)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
