"""A folder of the user, searched recursively."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.data.images import SUFFIXES
from model.errors import MissingInputError
from model.progress import track
from stages.sources.settings import FolderSource
from stages.sources.shelf import Shelf


def copy_folder(source: FolderSource, out: Path, key: str) -> dict[str, Any]:
    """Copy the readable, distinct pictures of a folder, byte for byte; see ``stages.sources.gather``."""
    place = Path(source.where)
    found = list(_list_folder(place, f"{key}.where"))
    images = [path for path in found if path.suffix.lower() in SUFFIXES]
    if not images:
        raise MissingInputError(
            f"{key}.where: {place}: no images ({', '.join(SUFFIXES)}) among {len(found)} files; "
            "put images there or name another folder"
        )
    shelf = Shelf(out)
    shelf.ignored = len(found) - len(images)
    for path in track(images, "read images", unit="images"):
        origin = path.relative_to(place).as_posix()
        shelf.put(path.read_bytes(), origin, origin, path.stem)
    shelf.check_budget(len(images), source.max_bad_fraction, f"{key}.max_bad_fraction")
    return shelf.record()


def _list_folder(place: Path, key: str) -> Iterator[Path]:
    """Yield every file below ``place`` that is not hidden, in one order on every machine."""
    if not place.is_dir():
        raise MissingInputError(f"{key}: {place}: no such folder (from {Path.cwd()}); create it or correct the path")
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith(".") and path.is_file():
                yield path
