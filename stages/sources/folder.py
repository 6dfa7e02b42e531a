"""A folder of the user, searched recursively."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.data.images import SUFFIXES
from model.errors import MissingInputError
from stages.sources.pick import put_each
from stages.sources.settings import FolderSource
from stages.sources.shelf import Shelf, group_of


def copy_folder(source: FolderSource, out: Path, key: str) -> dict[str, Any]:
    """Copy the readable, distinct pictures of a folder, byte for byte; see ``stages.sources.gather``."""
    place = Path(source.where)
    found = list(list_files(place, f"{key}.where"))
    images = [path for path in found if path.suffix.lower() in SUFFIXES]
    if not images:
        raise MissingInputError(
            f"{key}.where: {place}: no images ({', '.join(SUFFIXES)}) among {len(found)} files; "
            "put images there or name another folder"
        )
    shelf = Shelf(out)
    shelf.ignored = len(found) - len(images)

    def origin(path: Path) -> str:
        return printable(path.relative_to(place).as_posix())

    def put(path: Path) -> str | None:
        return shelf.put_file(path, origin(path), group_of(origin(path), source.group_by))

    looked = put_each(images, source.pick, origin, put, "read images")
    shelf.check_budget(looked, source.max_bad_fraction, f"{key}.max_bad_fraction")
    return {**shelf.record(), "found": len(images)}


def list_files(place: Path, key: str) -> Iterator[Path]:
    """Yield every file below ``place`` that is not hidden, in one order on every machine.

    Raises: MissingInputError naming the params ``key`` if there is no such folder.
    """
    if not place.is_dir():
        raise MissingInputError(f"{key}: {place}: no such folder (from {Path.cwd()}); create it or correct the path")
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file():
                yield path


def printable(name: str) -> str:
    """Return a file name that can be written into a record: bytes that are no UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
