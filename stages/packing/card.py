"""The dataset card: what ``card.json`` says as a page to read, and a sheet of examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.data.images import UInt8, centre_square, read_image, resize
from model.data.sheets import sheet
from stages.packing.statistics import Parts

COLUMNS, TILE = 10, 96  # of the sheet; px
ROWS = {"train": 4, "heldout": 2}
PART_NAMES = {"train": "training", "heldout": "held out", "none": "no crop used"}


def example_sheet(dataset: str, crops: Path, parts: Parts) -> UInt8:
    """Draw a random choice of the crops of both parts, the same ones on every run."""
    rows, labels = [], []
    for part, names in parts.items():
        order = np.random.default_rng(0).permutation(len(names))[: COLUMNS * ROWS[part]]
        tiles = [_tile(crops / "crops" / names[index]) for index in sorted(order)]
        for start in range(0, len(tiles), COLUMNS):
            rows.append(tiles[start : start + COLUMNS])
            labels.append(PART_NAMES[part] if start == 0 else "")
    counts = ", ".join(f"{len(names)} {PART_NAMES[part]}" for part, names in parts.items())
    return sheet(rows, labels, [], f"{dataset}: {counts}")


def _tile(file: Path) -> UInt8:
    image = centre_square(read_image(file))
    if len(image) < TILE:
        return image.repeat(TILE // len(image), 0).repeat(TILE // len(image), 1)
    return resize(image, TILE)


def as_markdown(card: Mapping[str, Any]) -> str:
    """Return ``card.json`` as a page."""
    lines = [f"# Dataset `{card['dataset']}`", "", "![examples](card.png)", "", *_rights(card), *_images(card)]
    lines += [*_faces(card), *_groups(card), *_origin(card)]
    return "\n".join(lines) + "\n"


def _rights(card: Mapping[str, Any]) -> list[str]:
    rows = [("licence", card["license"])]
    if isinstance(card["permission"], Mapping):
        rows += [(f"permission: {key}", in_words(value)) for key, value in card["permission"].items()]
    else:
        rows.append(("permission", card["permission"]))
    return ["## Rights", "", *_pairs(rows)]


def _images(card: Mapping[str, Any]) -> list[str]:
    storage = card["storage"]
    sizes = ", ".join(f"{size} px" for size in storage["sizes"])
    parts = card["parts"]
    head = ["", *(PART_NAMES[part] for part in parts)]
    rows = [
        ["images", *(str(part["images"]) for part in parts.values())],
        ["groups (episodes, clips, pages)", *(str(part["groups"]) for part in parts.values())],
        ["data file", *(_bytes(part["bytes"]) for part in parts.values())],
        ["mean colour, R G B", *(" ".join(f"{v:.1f}" for v in part["mean"]) for part in parts.values())],
        ["standard deviation, R G B", *(" ".join(f"{v:.1f}" for v in part["std"]) for part in parts.values())],
    ]
    for key, title in (("sharpness", "sharpness"), ("score", "detector's score")):
        for name in ("min", "q25", "median", "q75", "max"):
            rows.append([f"{title}, {name}", *(f"{part[key][name]:g}" for part in parts.values())])
    text = f"Stored as {storage['codec']} of {sizes}. No group is in both parts, and neither are near copies."
    return ["## Images", "", text, "", *_table(head, rows)]


def _faces(card: Mapping[str, Any]) -> list[str]:
    pictures, copies = card["pictures"], card["near_copies"]
    gathered = [("gathered", pictures["kept"]), ("dropped", pictures["dropped"])]
    gathered.append(("files of other types", pictures["ignored"]))
    faces = [(key.replace("_", " "), value) for key, value in card["faces"].items()]
    faces += [(f"dropped: {key}", value) for key, value in card["dropped_faces"].items()]
    faces += [("sets of near copies among the kept", copies["sets"]), ("kept crops in them", copies["crops"])]
    faces.append(("groups joined by them", copies["joined_groups"]))
    lines = ["## Pictures", "", *_pairs([(key, f"{value:g}") for key, value in gathered])]
    lines += ["## Faces", "", *_pairs([(key, f"{value:g}") for key, value in faces])]
    if card["detector"] is None:
        return [*lines, "Every picture is a face crop already: nothing was searched.", ""]
    return [*lines, "## Detector", "", *_pairs(list(_flat(card["detector"])))]


def _groups(card: Mapping[str, Any]) -> list[str]:
    groups = card["groups"]
    keys = ("group", "pictures", "crops", "part", "origin")
    rows = [[str(PART_NAMES.get(row[key], row[key])) for key in keys] for row in groups["largest"]]
    text = f"{groups['count']} groups, {groups['with_crops']} of them with crops; the {len(rows)} with most crops:"
    return ["## Groups", "", text, "", *_table([*keys[:-1], "one picture's origin"], rows)]


def _origin(card: Mapping[str, Any]) -> list[str]:
    lines = ["## Source", "", *_pairs(list(_flat(card["source"])))]
    return [*lines, "## Hashes (sha256)", "", *_pairs([(key, f"`{value}`") for key, value in card["hashes"].items()])]


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", in_words(value)


def in_words(value: object) -> str:
    """Return a plain value as text for a table."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {in_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(in_words(item) for item in value) or "none"
    return "none" if value is None else str(value)


def _pairs(rows: Sequence[tuple[str, object]]) -> list[str]:
    return _table(["", ""], [[key, str(value)] for key, value in rows])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines), ""]


def _cell(text: str) -> str:
    """Return what does not break a table: origins and permissions are other people's words."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _bytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"
