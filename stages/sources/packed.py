"""Pictures of an LMDB: of rosinality's StyleGAN2 code and its descendants, or of this project."""

from __future__ import annotations

import io
import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb

from model.data.images import image_size
from model.data.lmdb import DATA, LENGTH, META, check_complete, key_of
from model.errors import CorruptInputError, MissingInputError, UsageError
from model.files import MANIFEST, sha256_file, verify_manifest
from stages.sources.child import ChildDiedError, Head, Item, Patience, from_child
from stages.sources.pick import choose, put_until
from stages.sources.settings import LmdbSource
from stages.sources.shelf import MAX_BYTES, Shelf

PATIENCE = Patience(stalled_s=60, memory=None)  # rosinality's files claim a map of 1 TB


def import_lmdb(source: LmdbSource, out: Path, key: str) -> dict[str, Any]:
    """Copy the pictures of one size out of an LMDB, byte for byte (JPEG stays JPEG); see ``stages.sources.gather``.

    Every picture is a group of its own, unless the file's ``meta`` knows better. Records that are missing below
    ``length``, broken, or of another size in px than their keys say, are bad items.

    Raises: MissingInputError without such a file or without that size in it; CorruptInputError if it is truncated,
        damaged, or no LMDB; UsageError for BasicSR's layout.
    """
    place = Path(source.where)
    if not place.is_dir():
        raise MissingInputError(f"{key}.where: {place}: no such folder; name the folder of {DATA}")
    if (place / MANIFEST).is_file():
        verify_manifest(place)
    check_complete(place / DATA)  # a file that is too short kills the process that maps it
    shelf = Shelf(out)
    listed = _survey(place, source.size, key)
    numbers = listed.numbers(shelf, place)
    order = list(choose(numbers, source.pick, lambda index: key_of(source.size, index).decode()))

    def put(item: tuple[Head, bytes]) -> str | None:
        name = key_of(source.size, item[0]["index"]).decode()
        if item[0]["missing"]:
            shelf.refuse(name, f"{name}: no such record, though `length` says so", "missing")
            return None
        return _put(shelf, source.size, name, item[1], listed.of(item[0]["index"]))

    with _reading(place), closing(from_child(_records, (str(place), source.size, order), PATIENCE)) as records:
        looked = put_until(records, source.pick, put, "import images")
    shelf.check_budget(looked, source.max_bad_fraction, f"{key}.max_bad_fraction")
    return {**shelf.record(), "found": len(listed.indices), "inputs": {DATA: sha256_file(place / DATA)}}


@dataclass(frozen=True)
class _Listed:
    """What a file says about itself."""

    length: str | None  # of the record `length`
    indices: list[int]  # of the records of this size, in order
    sources: list[Any]  # what our own writer notes about each image

    def numbers(self, shelf: Shelf, place: Path) -> Sequence[int]:
        """Return which records there should be; a file without `length` is noted as a bad item and read as it is."""
        if self.length is None or not self.length.isdecimal():
            shelf.refuse(
                LENGTH.decode(), f"{place / DATA}: no record `length`: its writing was interrupted", "no length"
            )
            return self.indices
        if int(self.length) > 2 * len(self.indices) + 1000:
            raise CorruptInputError(
                f"{place / DATA}: `length` says {self.length}, but {len(self.indices)} images are there; make it again"
            )
        return range(int(self.length))

    def of(self, index: int) -> dict[str, Any]:
        """Return what is noted about an image."""
        entry = self.sources[index] if index < len(self.sources) else None
        return {k: v for k, v in entry.items() if isinstance(v, str)} if isinstance(entry, dict) else {}


def _put(shelf: Shelf, size: int, name: str, content: bytes, noted: dict[str, Any]) -> str | None:
    try:
        width, height = image_size(io.BytesIO(content), name)
    except CorruptInputError as error:
        shelf.refuse(name, str(error), "unreadable")
        return None
    if (width, height) != (size, size):
        shelf.refuse(name, f"{name}: {width} x {height} px, its key says {size}", "wrong size")
        return None
    details = {"packed_as": noted["name"]} if "name" in noted else {}
    return shelf.put(content, name, noted.get("group", name), name, **details)


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    try:
        yield
    except ChildDiedError as error:
        raise CorruptInputError(f"{place / DATA}: damaged: {error}; make it again") from error


def _survey(place: Path, size: int, key: str) -> _Listed:
    with _reading(place), closing(from_child(_directory, (str(place), size), PATIENCE)) as items:
        found = {item[0]["what"]: item for item in items}
    sizes = found["sizes"][0]["sizes"]
    if (place / "meta_info.txt").is_file() or not sizes:
        raise UsageError(
            f"{key}.where: {place}: BasicSR's layout (keys are file names, meta_info.txt), or another one; expected "
            "rosinality's (keys like 256-00017); unpack it into image files and use source: folder"
        )
    if size not in sizes:
        raise MissingInputError(f"{key}.size: {place}: no images of {size} px; there are: {', '.join(map(str, sizes))}")
    indices = array("q")
    indices.frombytes(found["indices"][1])
    return _Listed(found["length"][0]["length"], indices.tolist(), _sources(found["meta"][1]))


def _sources(meta: bytes) -> list[Any]:
    """Read who is who from our own ``meta``; other programs write none."""
    try:
        content = json.loads(meta or b"{}")
    except ValueError:
        return []
    sources = content.get("sources") if isinstance(content, dict) else None
    return sources if isinstance(sources, list) else []


def _directory(place: str, size: int) -> Iterator[Item]:
    """In the child: say how many images of which sizes there are."""
    indices, sizes = array("q"), set()
    with _transaction(place) as transaction:
        for count, key in enumerate(transaction.cursor().iternext(values=False)):
            first, dash, index = bytes(key).partition(b"-")
            if dash and first.isdigit() and index.isdigit() and len(index) < 10 and len(first) < 6:
                sizes.add(int(first))
                if int(first) == size:
                    indices.append(int(index))
            if count % 10_000 == 0:
                yield None
        length, meta = transaction.get(LENGTH), bytes(transaction.get(META) or b"")
    yield {"what": "length", "length": None if length is None else bytes(length)[:20].decode("ascii", "replace")}, b""
    yield {"what": "sizes", "sizes": sorted(sizes)}, b""
    yield {"what": "indices"}, array("q", sorted(indices)).tobytes()
    yield {"what": "meta"}, meta


def _records(place: str, size: int, order: Sequence[int]) -> Iterator[Item]:
    """In the child: read records in this order."""
    with _transaction(place) as transaction:
        for index in order:
            value = transaction.get(key_of(size, index))
            content = b"" if value is None else bytes(value[: MAX_BYTES + 1])
            yield {"index": index, "missing": value is None}, content


@contextmanager
def _transaction(place: str) -> Iterator[Any]:
    try:
        env = lmdb.open(place, readonly=True, lock=False, readahead=False, create=False)
        with env.begin(buffers=True) as transaction:
            yield transaction
    except lmdb.Error as error:
        raise CorruptInputError(f"{place}: LMDB cannot read it ({error}); make it again") from error
