"""Write the LMDB folders that ``model.data.lmdb`` reads: encoded by several processes, read back by others.

The content depends on images and settings alone, not on the number of processes. It is written into a temporary folder
that gets its name only after every record was read back, so which record is written first does not matter.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from model.data.images import RESAMPLE, UInt8, centre_square, decode_image, encode_image, read_image, resize
from model.data.lmdb import DATA, LENGTH, META, check_complete, key_of
from model.data.statistics import Looks, measure
from model.data.workers import in_processes, ordered_map
from model.errors import CorruptInputError, ResourceError, UsageError
from model.files import publish_folder, sha256_file
from model.progress import track

CODECS = ("png", "jpeg", "webp")
LOSSLESS = ("png", "webp")
PNG_LEVEL = 4  # within 2 % of the size of 6, in 40 % of the time
BATCH = 16 << 20  # bytes per transaction
SPARE = 1.3  # of the map, over what the first batch lets expect
CHUNK = 64  # records read back per task


@dataclass(frozen=True)
class Packing:
    """How images are stored."""

    sizes: Sequence[int]  # px, of the square images written
    codec: str  # png and webp are lossless; jpeg has quality 100, its artefacts move FID
    workers: int  # processes that encode; the content does not depend on it

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if self.codec not in CODECS:
            raise UsageError(f"lmdb.codec: {self.codec!r} is not one of {', '.join(CODECS)}")
        if not self.sizes or min(self.sizes) < 1 or len(set(self.sizes)) < len(self.sizes):
            raise UsageError(f"lmdb.sizes: found {list(self.sizes)}, expected one or more different sizes in px")


class Record(NamedTuple):
    """What was meant to be stored under a key."""

    key: bytes
    sha256: bytes
    crc32: int
    size: int  # px; 0 is no image
    pixels: int | None  # their crc32, if the codec is lossless


class Encoded(NamedTuple):
    """One image, on its way into the file."""

    source: str  # sha256 of the file, or of the pixels given
    values: list[bytes]  # one per size
    records: list[Record]
    looks: Looks  # at the largest size


class Written(NamedTuple):
    """What is in the folder."""

    content_sha256: str  # over keys and values: the same for any number of workers, unlike a file's
    bytes: int  # of the data file
    looks: list[Looks]  # image by image


def write_lmdb(
    out: Path, images: Sequence[Path | UInt8], names: Sequence[str], packing: Packing, map_size: int = 0
) -> Written:
    """Encode images as the LMDB folder ``out`` (``data.mdb`` and a manifest), replacing it if it exists.

    Args:
        out: the folder to publish.
        images: files, or uint8 ``[H, W, 3]``; the largest centred square is taken and resized, never enlarged.
        names: what each image is called in ``meta``.
        packing: sizes, codec and number of processes.
        map_size: bytes to start with; 0 estimates it from the first images. It grows when the data does not fit.

    Returns: digest of the content, size, and what the images look like.
    Raises: UsageError for no images or too small ones; CorruptInputError naming an image that cannot be read, or a
        record that reads back differently; ResourceError when the disk is full.
    """
    if not images or len(images) != len(names):
        raise UsageError(f"{out}: nothing to write ({len(images)} images, {len(names)} names)")
    details: dict[str, Any] = {"kind": "lmdb", "sizes": list(packing.sizes), "length": len(images)}
    with publish_folder(out, details) as folder:
        store = _Store(folder, out, len(images), map_size)
        with closing(ordered_map(partial(_encode, packing), enumerate(images), packing.workers)) as encoded:
            for image in track(encoded, f"write LMDB {out.name}", len(images), "images"):
                store.add(image)
        store.finish(packing, names)
        _read_back(folder, out, store.records, packing.workers)
        details["content_sha256"] = _digest(store.records)
        size = (folder / DATA).stat().st_size
    return Written(details["content_sha256"], size, store.looks)


def _encode(packing: Packing, item: tuple[int, Path | UInt8]) -> Encoded:
    index, image = item
    pixels = centre_square(read_image(image) if isinstance(image, Path) else image)
    if len(pixels) < max(packing.sizes):
        name = image if isinstance(image, Path) else f"image {index}"
        raise UsageError(
            f"{name}: its square has {len(pixels)} px, lmdb.sizes asks for {max(packing.sizes)}, and nothing is "
            "enlarged: leave it out, or lower lmdb.sizes"
        )
    scaled = {size: resize(pixels, size) for size in packing.sizes}
    values, records = [], []
    for size, small in scaled.items():
        value = encode_image(small, packing.codec, PNG_LEVEL)
        values.append(value)
        meant = zlib.crc32(small.tobytes()) if packing.codec in LOSSLESS else None
        records.append(_record(key_of(size, index), value, size, meant))
    source = sha256_file(image) if isinstance(image, Path) else hashlib.sha256(image.tobytes()).hexdigest()
    return Encoded(source, values, records, measure(scaled[max(scaled)]))


def _record(key: bytes, value: bytes, size: int = 0, pixels: int | None = None) -> Record:
    return Record(key, hashlib.sha256(value).digest(), zlib.crc32(value), size, pixels)


class _Store:
    """The file while it is written: batches of records, and a map that grows."""

    def __init__(self, folder: Path, out: Path, count: int, map_size: int) -> None:
        self.folder, self.out, self.count, self.map_size = folder, out, count, map_size
        self.sources: list[str] = []
        self.records: list[Record] = []
        self.looks: list[Looks] = []
        self._batch: list[tuple[bytes, bytes]] = []
        self._bytes = self._needed = 0

    def add(self, image: Encoded) -> None:
        self.sources.append(image.source)
        self.records += image.records
        self.looks.append(image.looks)
        for record, value in zip(image.records, image.values, strict=True):
            self._keep(record.key, value)
        if self._bytes >= BATCH:
            self._flush()

    def finish(self, packing: Packing, names: Sequence[str]) -> None:
        """Add ``length`` and ``meta``."""
        sums = {str(size): [r.crc32 for r in self.records if r.size == size] for size in packing.sizes}
        meta = {
            "format": 2, "sizes": list(packing.sizes), "codec": packing.codec, "resample": RESAMPLE,
            "length": self.count, "crc32": sums,
            "sources": [{"name": name, "sha256": sha} for name, sha in zip(names, self.sources, strict=True)],
        }  # fmt: skip
        for key, value in ((LENGTH, str(self.count).encode()), (META, json.dumps(meta, sort_keys=True).encode())):
            self.records.append(_record(key, value))
            self._keep(key, value)
        self._flush()

    def _keep(self, key: bytes, value: bytes) -> None:
        self._batch.append((key, value))
        self._bytes += len(value)

    def _flush(self) -> None:
        """Store the batch in one transaction; synced later, with the manifest."""
        if not self._needed:
            self._needed = int(self._bytes / len(self.sources) * self.count * SPARE)
        try:
            size = self.map_size or max(1 << 20, self._needed)
            env = lmdb.open(str(self.folder), map_size=size, lock=False, sync=False)
            try:
                put(env, self._batch)
                self.map_size = int(env.info()["map_size"])
            finally:
                env.close()
        except lmdb.Error as error:
            raise ResourceError(self._no_room(error)) from error
        self._batch, self._bytes = [], 0

    def _no_room(self, error: lmdb.Error) -> str:
        free = shutil.disk_usage(self.folder).free
        if not isinstance(error, lmdb.DiskError) and free > self._bytes:  # half a write is an input/output error
            return f"{self.out}: LMDB cannot write ({error}); check the disk and run again"
        return (
            f"{self.out}: the disk is full ({error}): about {self._needed >> 20} MiB are needed, {free >> 20} are "
            "free; free space and run again"
        )


def put(env: lmdb.Environment, records: Sequence[tuple[bytes, bytes]]) -> None:
    """Store records in one transaction; when the map is full it doubles and the transaction starts again."""
    while True:
        try:
            with env.begin(write=True) as transaction:
                for key, value in records:
                    transaction.put(key, value)
        except lmdb.MapFullError:
            env.set_mapsize(int(env.info()["map_size"]) * 2)
        else:
            return


def _read_back(folder: Path, out: Path, records: Sequence[Record], workers: int) -> None:
    """Let other processes read every record: what LMDB does with a damaged file kills who reads it."""
    chunks = [list(records[start : start + CHUNK]) for start in range(0, len(records), CHUNK)]
    check = partial(check_records, folder / DATA, len(records))
    try:
        with closing(in_processes(check, chunks, workers)) as checked:
            for _ in track(checked, f"check LMDB {out.name}", len(chunks), "chunks"):
                pass
    except CorruptInputError as error:
        raise CorruptInputError(f"{out}: what was written reads back differently: {error}") from error
    except ResourceError as error:
        raise ResourceError(
            f"{out}: reading back what was written killed the process that did it: the disk may be damaged, or memory "
            "ran out; nothing was published, run again"
        ) from error


def check_records(file: Path, count: int, records: Sequence[Record]) -> None:
    """Compare records of the LMDB data file with what was meant, the pictures decoded.

    Raises: CorruptInputError naming the first one that differs.
    """
    check_complete(file)
    with lmdb.open(str(file.parent), readonly=True, lock=False, create=False) as env, env.begin() as transaction:
        found = env.stat()["entries"]
        if found != count:
            raise CorruptInputError(f"{file}: {found} records of {count}")
        for record in records:
            value = transaction.get(record.key)
            name = f"{file}: record {record.key.decode()}"
            if value is None or hashlib.sha256(value).digest() != record.sha256:
                raise CorruptInputError(f"{name}: {'missing' if value is None else 'other bytes'}")
            if not record.size:
                continue
            image = decode_image(io.BytesIO(value), name)
            if image.shape != (record.size, record.size, 3) or record.pixels not in (None, zlib.crc32(image.tobytes())):
                raise CorruptInputError(f"{name}: other pixels")


def _digest(records: Iterable[Record]) -> str:
    """Return the sha256 over the lines ``KEY SHA256-OF-VALUE`` of all records, sorted by key."""
    lines = [b"%s %s\n" % (record.key, record.sha256.hex().encode()) for record in sorted(records)]
    return hashlib.sha256(b"".join(lines)).hexdigest()
