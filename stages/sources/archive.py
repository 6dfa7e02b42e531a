"""A zip archive, read picture by picture: nothing in it is ever used as a path, and no number in it is believed."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from model.data.images import SUFFIXES
from model.errors import CorruptInputError, MissingInputError, UsageError
from model.files import sha256_file
from stages.sources.pick import put_each
from stages.sources.settings import ZipSource
from stages.sources.shelf import MAX_BYTES, Shelf, group_of

MAX_ENTRIES = 1_000_000  # each costs memory before anything of it is read
MAX_RATIO = 200  # unpacked to packed; image files are compressed already
SMALL = 1 << 20  # bytes, up to which a ratio says nothing: a blank page
CHUNK = 1 << 16
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others can ask for any amount of memory
_END, _END_64, _LOCATOR = b"PK\5\6", b"PK\6\6", b"PK\6\7"  # APPNOTE.TXT, 4.3.14 to 4.3.16
_ENCRYPTED = 1  # flag bit
_LOCAL_HEADER = 30  # bytes, without name and extra field


@dataclass(frozen=True)
class Member:
    """One picture of an archive."""

    origin: str  # its name in the archive; a later one of the same name has a number behind it
    info: zipfile.ZipInfo


class _BadMemberError(Exception):
    """One picture cannot be had; the message says why, and ``kind`` in two words."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def unpack(source: ZipSource, out: Path, key: str) -> dict[str, Any]:
    """Unpack the readable, distinct pictures of an archive; see ``stages.sources.gather``.

    Names in the archive are shown to people and decide nothing: files are named by ``Shelf``. Folders, hidden files and
    other types, archives among them, are left aside; links, unsafe names and what cannot be unpacked are bad items.

    Raises: MissingInputError without the archive, or without a picture in it; CorruptInputError if it is no zip, is cut
        off, has overlapping entries or unpacks to more than ``max_gb``; UsageError if it is encrypted.
    """
    place = Path(source.where)
    if not place.is_file():
        raise MissingInputError(f"{key}.where: {place}: no such file (from {Path.cwd()}); name a zip archive")
    shelf = Shelf(out)
    digest = sha256_file(place)
    with place.open("rb") as file, _open(file, place) as archive:
        _refuse_overlaps(archive, place)
        members = list(_pictures(archive, shelf))
        if not members:
            raise MissingInputError(
                f"{key}.where: {place}: no images ({', '.join(SUFFIXES)}) among {len(archive.infolist())} entries; "
                "name another archive"
            )
        if any(member.info.flag_bits & _ENCRYPTED for member in members):
            raise UsageError(f"{place}: is encrypted; unpack it with its password and use source: folder")
        total = [0]

        def put(member: Member) -> str | None:
            try:
                content = _read(archive, member.info)
            except _BadMemberError as error:
                shelf.refuse(member.origin, f"{member.origin}: {error}", error.kind)
                return None
            total[0] += len(content)
            if total[0] > source.max_gb * 1e9:
                raise CorruptInputError(
                    f"{place}: unpacks to more than {key}.max_gb ({source.max_gb:g}); a bomb, or raise the number"
                )
            group = group_of(member.origin, source.group_by)
            return shelf.put(content, member.origin, group, PurePosixPath(member.origin).stem)

        looked = put_each(members, source.pick, lambda member: member.origin, put, "unpack images")
    shelf.check_budget(looked, source.max_bad_fraction, f"{key}.max_bad_fraction")
    return {**shelf.record(), "found": len(members), "inputs": {place.name: digest}}


def _open(file: BinaryIO, place: Path) -> zipfile.ZipFile:
    """Open an archive whose directory has a bearable number of entries."""
    count = _count(file, place)
    if count > MAX_ENTRIES:
        raise CorruptInputError(f"{place}: has {count} entries, more than {MAX_ENTRIES}; divide it")
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError, UnicodeError) as error:
        raise CorruptInputError(f"{place}: not a whole zip archive ({error}); fetch or pack it again") from error


def _count(file: BinaryIO, place: Path) -> int:
    """Return how many entries an archive says it has, and at most can have, without reading them."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_557))
    tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + 22:
        raise CorruptInputError(f"{place}: not a zip archive, or cut off; fetch or pack it again")
    claimed, directory = struct.unpack_from("<10xHI", tail, end)
    if tail[max(0, end - 20) : end].startswith(_LOCATOR):
        (offset,) = struct.unpack_from("<8xQ", tail, end - 20)
        file.seek(min(offset, size))
        record = file.read(56)
        if len(record) == 56 and record.startswith(_END_64):
            claimed, directory = struct.unpack_from("<32xQQ", record)
    return int(max(claimed, min(directory, size) // 46))  # 46 bytes is the shortest entry


def _refuse_overlaps(archive: zipfile.ZipFile, place: Path) -> None:
    """Refuse entries that share bytes, by which a small archive can unpack to any size.

    Source: Fifield 2019, "A better zip bomb".
    """
    entries = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [entry.header_offset for entry in entries[1:]] + [archive.start_dir]
    for entry, end in zip(entries, ends, strict=True):
        name = len(entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437", "replace"))
        if entry.header_offset + _LOCAL_HEADER + name + entry.compress_size > end:
            raise CorruptInputError(
                f"{place}: {_shown(entry.orig_filename)}: overlaps what follows it, as in a zip bomb, or the archive "
                "is damaged; pack it again"
            )


def _pictures(archive: zipfile.ZipFile, shelf: Shelf) -> Iterator[Member]:
    """Yield the pictures of an archive by name; everything else goes into the shelf's record."""
    seen: Counter[str] = Counter()
    for info in sorted(archive.infolist(), key=lambda info: (info.orig_filename, info.header_offset)):
        name = info.orig_filename  # ZipInfo cuts its own at a NUL
        parts = name.split("/")
        if name.endswith("/"):
            continue
        seen[name] += 1
        origin = _shown(name) + (f" ({seen[name]})" if seen[name] > 1 else "")
        picture = name.lower().endswith(SUFFIXES)
        mode = stat.S_IFMT(info.external_attr >> 16)
        if picture and (name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or name[1:2] == ":"):
            shelf.refuse(origin, f"{origin}: not a plain relative name", "unsafe name")
        elif any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        elif not picture:
            shelf.ignored += 1
        elif mode not in (0, stat.S_IFREG):
            what = "a symbolic link" if mode == stat.S_IFLNK else "no regular file"
            shelf.refuse(origin, f"{origin}: {what}, never followed", "no regular file")
        else:
            yield Member(origin, info)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Unpack one picture, as far as an image may be large."""
    if info.compress_type not in METHODS:
        raise _BadMemberError(
            "other compression", f"compressed by method {info.compress_type}, expected stored or deflated"
        )
    most = max(SMALL, min(MAX_BYTES, MAX_RATIO * info.compress_size))
    content = bytearray()
    try:
        with archive.open(info) as member:
            while chunk := member.read(CHUNK):
                content += chunk
                if len(content) > most:
                    why = f"unpacks to more than {most} bytes ({info.compress_size} packed), no image does"
                    raise _BadMemberError("too large", why)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, struct.error, ValueError) as error:
        raise _BadMemberError("damaged", f"cannot be unpacked ({error})") from error
    except (NotImplementedError, RuntimeError) as error:
        raise _BadMemberError("not supported", f"cannot be unpacked ({error})") from error
    return bytes(content)


def _shown(name: str) -> str:
    """Return a name that is safe in a record and on a terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in name[:300])
