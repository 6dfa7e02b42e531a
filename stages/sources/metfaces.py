"""MetFaces as NVIDIA publishes it: faces of paintings, and who painted them.

``images/OBJECT-FACE.png`` are aligned faces of 1024 px; ``metfaces.json`` lists for each the object of the museum it
comes from. The landmarks in it lie on the shrunken original, not on these files, so they are not taken over.
Source: github.com/NVlabs/metfaces-dataset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.data.images import SUFFIXES
from model.errors import CorruptInputError, MissingInputError
from model.files import sha256_file
from stages.sources.folder import list_files, printable
from stages.sources.pick import put_each
from stages.sources.settings import MetfacesSource
from stages.sources.shelf import Shelf

IMAGES, LIST = "images", "metfaces.json"
MAX_LIST = 200 << 20  # bytes; the published one has 1.8 MB
NOTED = (
    "title",
    "artist",
    "artist_display_name",
    "date",
    "object_date",
    "meta_url",
    "source_url",
)  # text for the record


def copy_metfaces(source: MetfacesSource, out: Path, key: str) -> dict[str, Any]:
    """Copy the faces of MetFaces; see ``stages.sources.gather``.

    A group is an object of the museum: one painting is never in both parts. Without ``metfaces.json`` that is read off
    the files' names.

    Raises: MissingInputError without ``images/`` or a picture in it; CorruptInputError naming the record of the list
        that is not as published.
    """
    place = Path(source.where)
    if not (place / IMAGES).is_dir():
        raise MissingInputError(
            f"{key}.where: {place}: no folder {IMAGES}/ (from {Path.cwd()}); name the folder of MetFaces, or use "
            "source: folder for pictures in another layout"
        )
    images = [p for p in list_files(place / IMAGES, f"{key}.where") if p.suffix.lower() in SUFFIXES]
    if not images:
        raise MissingInputError(f"{key}.where: {place / IMAGES}: no images ({', '.join(SUFFIXES)}); fetch MetFaces")
    shelf = Shelf(out)
    listed = read_list(place / LIST) if (place / LIST).is_file() else {}

    def origin(path: Path) -> str:
        return printable(path.relative_to(place).as_posix())

    def put(path: Path) -> str | None:
        entry = listed.get(path.name)
        number = entry["obj_id"] if entry else path.stem.rpartition("-")[0] or path.stem
        noted = {} if entry is None else {name: entry[name] for name in NOTED if name in entry}
        return shelf.put_file(path, origin(path), f"object {printable(number)}", **({"work": noted} if noted else {}))

    looked = put_each(images, source.pick, origin, put, "read faces")
    shelf.check_budget(looked, source.max_bad_fraction, f"{key}.max_bad_fraction")
    present = {path.name for path in images}
    record = {"found": len(images), "listed": len(listed), "listed_but_absent": len(set(listed) - present)}
    inputs = {LIST: sha256_file(place / LIST)} if listed else {}
    return {**shelf.record(), **record, "inputs": inputs}


def read_list(file: Path) -> dict[str, dict[str, str]]:
    """Read ``metfaces.json``: name of an image file -> its ``obj_id`` and what is known about the work, all text.

    It may be a list, or a mapping whose values are the entries. Unknown keys are left aside.

    Raises: CorruptInputError naming the entry and key that is not as published.
    """
    if file.stat().st_size > MAX_LIST:
        raise CorruptInputError(f"{file}: more than {MAX_LIST >> 20} MB; fetch it again")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptInputError(f"{file}: not JSON ({error}); fetch it again, or remove it") from error
    entries = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise CorruptInputError(f"{file}: expected a list of faces, found {type(content).__name__}; fetch it again")
    return dict(_entry(entry, f"{file}: entry {number}") for number, entry in enumerate(entries))


def _entry(entry: object, where: str) -> tuple[str, dict[str, str]]:
    if not isinstance(entry, Mapping):
        raise CorruptInputError(f"{where}: expected a mapping, found {type(entry).__name__}; fetch the list again")
    found: dict[str, str] = {"obj_id": str(_value(entry, "obj_id", (str, int), where))}
    if "image_path" in entry:
        name = str(_value(entry, "image_path", (str,), where)).rpartition("/")[2]
    else:
        name = f"{found['obj_id']}-{int(_value(entry, 'face_idx', (int,), where)):02d}.png"
    for key in NOTED:
        if entry.get(key) is not None:
            found[key] = str(_value(entry, key, (str, int), where))
    return name, found


def _value(entry: Mapping[str, Any], key: str, kinds: tuple[type, ...], where: str) -> Any:
    value = entry.get(key)
    if type(value) not in kinds:
        expected = " or ".join({str: "text", int: "a whole number"}[kind] for kind in kinds)
        found = "nothing" if value is None else type(value).__name__
        raise CorruptInputError(f"{where}: {key}: expected {expected}, found {found}; fetch the list again")
    return value
