"""The sheet to look at after cropping: crops, what was dropped and why, and one page with its boxes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from model.data.images import UInt8, decode_image, read_image
from model.data.sheets import draw_boxes, fit, sheet, stack
from stages.cropping.report import Book, in_words, reason_of

COLUMNS, ROWS, TILE, PAGE = 10, 6, 128, 1300  # the last two in px
DROPPED_COLUMNS = 12
GREEN, RED = (30, 160, 60), (215, 50, 40)

T = TypeVar("T")


def quality_sheet(raw: Path, dataset: str, resolution: int, book: Book, boxes: bool) -> UInt8:
    """Draw a random choice of crops, examples of dropped faces by reason, and the page with the most faces.

    Args:
        raw: folder of the pictures.
        dataset: its name.
        resolution: of the crops, px.
        book: at least one crop.
        boxes: whether faces were searched, so that a page with boxes says something.
    """
    counts = book.counts()
    chosen = _choose(sorted(book.crops), COLUMNS * ROWS)
    rows = [chosen[start : start + COLUMNS] for start in range(0, len(chosen), COLUMNS)]
    title = f"{dataset}: {counts['kept']} crops from {counts['pages']} pictures; dropped {in_words(book.reasons())}"
    tiles = [[_tile(read_image(book.folder / name)) for name in row] for row in rows]
    captions = [[Path(name).stem for name in row] for row in rows]
    parts = [sheet(tiles, [], [], title, captions, max(1, TILE // resolution))]
    if book.dropped:
        parts.append(_dropped(book))
    if boxes:
        parts.append(_page(raw, book))
    return stack(parts)


def _tile(crop: UInt8) -> UInt8:
    return fit(crop, TILE)


def _dropped(book: Book) -> UInt8:
    """Draw examples of dropped faces, one row per kind of reason."""
    labels, rows, captions = [], [], []
    for kind, count in book.reasons().items():
        indices = [index for index, item in enumerate(book.dropped) if reason_of(item) == kind]
        shown = _choose(indices, DROPPED_COLUMNS)
        labels.append(f"{kind}\n{len(shown)} of {count}")
        rows.append([decode_image(io.BytesIO(book.dropped_thumbnail(i)), book.dropped[i]["page"]) for i in shown])
        captions.append([_caption(book.dropped[i]) for i in shown])
    return sheet(rows, labels, [], "Dropped faces, by reason", captions)


def _caption(item: dict[str, Any]) -> str:
    """Return the measured part of a reason and the page."""
    measured = str(item["reason"]).partition(": ")[2].partition(",")[0].partition(" below")[0]
    short = measured.replace(" of it lies outside the page", " outside").replace("more than ", "> ")
    return f"{short} {Path(item.get('crop', item['page'])).stem}"


def _page(raw: Path, book: Book) -> UInt8:
    """Draw the boxes of the page with the most crops; of a tall one only the part with its first faces.

    Of a strip, the slices into which its faces reach are drawn too.
    """
    name = max(sorted(book.pages), key=lambda page: book.pages[page]["kept"])
    crops = [crop for crop in book.crops.values() if crop["page"] == name]
    used = [crop["square"] for crop in crops]
    refused = [item["box"] for item in book.dropped if item["page"] == name]
    below = sorted({part for crop in crops for part in crop.get("slices", []) if part > name})
    image = np.concatenate([read_image(raw / part) for part in (name, *below)])
    drawn = draw_boxes(draw_boxes(image, [tuple(box) for box in used], GREEN), [tuple(box) for box in refused], RED)
    most = 2 * image.shape[1]
    top = max(0, min(min(box[1] for box in used), image.shape[0] - most))
    return sheet([[fit(drawn[top : top + most], PAGE)]], [], [], f"{name}: crops green, dropped faces red")


def _choose(items: Sequence[T], count: int) -> list[T]:
    """Choose evenly over all, the same ones on every run."""
    if len(items) <= count:
        return list(items)
    picks = np.random.default_rng(0).permutation(len(items))[:count]
    return [items[index] for index in sorted(picks)]
