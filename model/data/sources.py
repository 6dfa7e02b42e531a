"""Where a dataset's pictures come from: a folder of the user, or the synthetic face world."""

from __future__ import annotations

import hashlib
import math
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model.data.images import SUFFIXES, encode_image, read_image
from model.errors import BudgetError, CorruptInputError, MissingInputError
from model.progress import track

SLUG_LENGTH = 60


@dataclass(frozen=True)
class SyntheticSource:
    """Comic pages drawn by ``model.data.synthetic``."""

    source: Literal["synthetic"]
    style: str  # of the faces: photo, flat, ink
    pages: int
    seed: int
    face: str  # a key of crop.detectors, or `none`
    license: str


@dataclass(frozen=True)
class FolderSource:
    """Image files of the user."""

    source: Literal["folder"]
    where: str | tuple[str, ...]  # one folder or several, relative to the project's root; searched recursively
    max_bad_fraction: float  # share of unreadable files that is tolerated
    face: str  # a key of crop.detectors, or `none` when every image is a face crop already
    license: str

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.max_bad_fraction < 1:
            raise ValueError(f"max_bad_fraction must be in [0, 1), found {self.max_bad_fraction}")


Source = SyntheticSource | FolderSource


def collect(source: Source, out: Path, key: str) -> dict[str, Any]:
    """Fill the folder ``out`` with the pictures of ``source``.

    Args:
        source: what to collect.
        out: an existing folder.
        key: the params key, for messages.

    Returns: ``files`` (name -> origin, group, sha256; pictures of one group are never divided between training and
        held-out images), ``dropped`` (origin, reason) and ``ignored`` (number of files of other types).
    """
    if isinstance(source, SyntheticSource):
        return _draw_pages(source, out)
    return _copy_folders(source, out, key)


def _draw_pages(source: SyntheticSource, out: Path) -> dict[str, Any]:
    from model.data.synthetic.pages import comic_page

    files = {}
    for index in track(range(source.pages), "draw pages", unit="pages"):
        page = comic_page(source.seed, index, source.style)
        content = encode_image(page.image, "png", compress_level=1)
        name = f"{index:05d}-{source.style}.png"
        (out / name).write_bytes(content)
        files[name] = {
            "origin": f"seed {source.seed}, page {index}",
            "group": f"seed {source.seed}, page {index}",
            "sha256": hashlib.sha256(content).hexdigest(),
            "faces": [[int(v) for v in face.box] for face in page.faces],
        }
    return {"files": files, "dropped": [], "ignored": 0}


def _copy_folders(source: FolderSource, out: Path, key: str) -> dict[str, Any]:
    places = (source.where,) if isinstance(source.where, str) else source.where
    found = [item for place in places for item in _list_folder(Path(place), f"{key}.where")]
    images = [(place, path) for place, path in found if path.suffix.lower() in SUFFIXES]
    if not images:
        raise MissingInputError(
            f"{key}.where: {', '.join(places) or 'an empty list'}: no images ({', '.join(SUFFIXES)}) among "
            f"{len(found)} files; put images there or name another folder"
        )
    files: dict[str, Any] = {}
    dropped: list[dict[str, str]] = []
    first: dict[str, str] = {}  # sha256 -> origin
    bad = 0
    for place, path in track(images, "read images", unit="images"):
        origin = path.relative_to(place).as_posix() if len(places) == 1 else path.relative_to(place.parent).as_posix()
        try:
            read_image(path)  # completely: a header says nothing about the rest
        except CorruptInputError as error:
            bad += 1
            dropped.append({"origin": origin, "reason": str(error)})
            continue
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest in first:
            dropped.append({"origin": origin, "reason": f"same bytes as {first[digest]}"})
            continue
        first[digest] = origin
        name = f"{len(files):05d}-{slug(path.stem)}{_suffix(content)}"
        (out / name).write_bytes(content)
        files[name] = {"origin": origin, "group": origin, "sha256": digest}
    check_budget(bad, len(images), source.max_bad_fraction, f"{key}.max_bad_fraction", dropped)
    return {"files": files, "dropped": dropped, "ignored": len(found) - len(images)}


def check_budget(bad: int, total: int, fraction: float, key: str, dropped: list[dict[str, str]]) -> None:
    """Tolerate single bad items, fail on many.

    Raises: BudgetError if more than ``fraction`` of ``total`` (rounded up) are bad, or all.
    """
    if bad and (bad > math.ceil(fraction * total) or bad == total):
        reasons = "; ".join(item["reason"] for item in dropped[:3])
        raise BudgetError(
            f"{bad} of {total} images cannot be read, more than {key} ({fraction:g}) allows: {reasons}"
            f"{' ...' if len(dropped) > 3 else ''}; replace or remove them, or raise the number"
        )


def slug(text: str) -> str:
    """Reduce ``text`` to at most 60 of ``a-z 0-9 - _``, safe as part of a file name on every system."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", ascii_text).strip("-_")[:SLUG_LENGTH].strip("-_") or "image"


def _list_folder(place: Path, key: str) -> Iterator[tuple[Path, Path]]:
    """Yield (place, file) for every file below ``place`` that is not hidden, in one order on every machine."""
    if not place.is_dir():
        raise MissingInputError(f"{key}: {place}: no such folder (from {Path.cwd()}); create it or correct the path")
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file():
                yield place, path


def _suffix(content: bytes) -> str:
    """Name the format by its first bytes; extensions of collected files are often wrong."""
    for start, suffix in ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"RIFF", ".webp")):
        if content.startswith(start):
            return suffix
    return ".img"
