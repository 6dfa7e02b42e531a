"""Contact sheets: labelled grids of images, for sample grids, sweeps and quality checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.data.images import UInt8

BACKGROUND = (245, 245, 243)
INK = (40, 40, 40)
FAINT = (150, 150, 150)
GAP = 6  # px between tiles
MARGIN = 12  # px around the sheet
TEXT = 14  # px, labels
SMALL_TEXT = 11  # px, captions
TITLE_TEXT = 19  # px


class _Grid(NamedTuple):
    """Where tiles go, px."""

    left: int
    top: int
    wide: int  # of the largest tile
    high: int
    caption: int  # height of the text below a tile

    def at(self, x: int, y: int) -> tuple[int, int]:
        return self.left + x * (self.wide + GAP), self.top + y * (self.high + self.caption + GAP)


def sheet(
    rows: Sequence[Sequence[UInt8 | None]],
    row_labels: Sequence[str],
    col_labels: Sequence[str],
    title: str,
    captions: Sequence[Sequence[str]] | None = None,
    scale: int = 1,
) -> UInt8:
    """Draw a labelled grid of images.

    Args:
        rows: uint8 ``[H, W, 3]`` tiles, row by row; rows may differ in length, tiles in size; None is a gap.
        row_labels: one per row, or empty for none; line breaks are kept.
        col_labels: one per column, or empty for none.
        title: one line above everything; empty for none.
        captions: a small text under each tile, in the layout of ``rows``.
        scale: whole-number enlargement of the tiles, pixels repeated, so that what is seen is what was generated.

    Returns: uint8 ``[H, W, 3]``.
    Raises: ValueError for no tiles, a label count that does not fit, or a scale below 1.
    """
    columns = _check(rows, row_labels, col_labels, scale)
    tiles = [[None if tile is None else tile.repeat(scale, 0).repeat(scale, 1) for tile in row] for row in rows]
    shapes = [tile.shape for row in tiles for tile in row if tile is not None]
    high, wide = max(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
    notes = [[_wrap(text, wide, SMALL_TEXT) for text in row] for row in captions or []]
    heads = [_wrap(label, wide, TEXT) for label in col_labels]
    left = MARGIN + max((_width(label, TEXT) + 10 for label in row_labels), default=0)
    head = MARGIN + (TITLE_TEXT + 14 if title else 0)
    grid = _Grid(left, head + _height([heads], TEXT), wide, high, _height(notes, SMALL_TEXT))
    width = max(grid.at(columns, 0)[0] - GAP, MARGIN + _width(title, TITLE_TEXT)) + MARGIN
    canvas = Image.new("RGB", (width, grid.at(0, len(tiles))[1] - GAP + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _text(draw, (MARGIN, MARGIN), title, TITLE_TEXT)
    for x, label in enumerate(heads):
        _text(draw, (grid.at(x, 0)[0], head), label, TEXT)
    for y, label in enumerate(row_labels):
        _text(draw, (MARGIN, grid.at(0, y)[1] + max(high // 2 - TEXT, 0)), label, TEXT)
    _draw_tiles(canvas, grid, tiles, notes)
    return np.array(canvas, dtype=np.uint8)


def stack(images: Sequence[UInt8]) -> UInt8:
    """Put sheets of any sizes below one another on the sheet background."""
    canvas = Image.new("RGB", (max(i.shape[1] for i in images), sum(i.shape[0] for i in images)), BACKGROUND)
    top = 0
    for image in images:
        canvas.paste(Image.fromarray(image), (0, top))
        top += image.shape[0]
    return np.array(canvas, dtype=np.uint8)


def fit(image: UInt8, longest: int) -> UInt8:
    """Reduce ``[H, W, 3]`` so that its longer side has at most ``longest`` px; never enlarges."""
    canvas = Image.fromarray(image)
    canvas.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=None)
    return np.array(canvas, dtype=np.uint8)


def draw_boxes(image: UInt8, boxes: Sequence[tuple[int, int, int, int]], colour: tuple[int, int, int]) -> UInt8:
    """Return a copy of ``image`` with rectangles ``(x, y, width, height)`` drawn on it."""
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for x, y, width, height in boxes:
        draw.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=max(2, image.shape[1] // 300))
    return np.array(canvas, dtype=np.uint8)


def _check(
    rows: Sequence[Sequence[UInt8 | None]], row_labels: Sequence[str], col_labels: Sequence[str], scale: int
) -> int:
    columns = max((len(row) for row in rows), default=0)
    if not any(tile is not None for row in rows for tile in row):
        raise ValueError("a sheet needs at least one image")
    if row_labels and len(row_labels) != len(rows):
        raise ValueError(f"{len(row_labels)} row labels for {len(rows)} rows")
    if col_labels and len(col_labels) != columns:
        raise ValueError(f"{len(col_labels)} column labels for {columns} columns")
    if scale < 1:
        raise ValueError(f"scale {scale} is below 1; a sheet only enlarges")
    return columns


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _width(text: str, size: int) -> int:
    return max((int(_font(size).getlength(line)) + 1 for line in text.split("\n")), default=0)


def _height(texts: Sequence[Sequence[str]], size: int) -> int:
    lines = max((text.count("\n") + 1 for row in texts for text in row if text), default=0)
    return lines * (size + 4) + 4 if lines else 0


def _wrap(text: str, width: int, size: int) -> str:
    """Break ``text`` at spaces so that it fits ``width`` px where it can; a long word is cut short."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and _width(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(_shorten(word, width, size))
    return "\n".join(lines)


def _shorten(word: str, width: int, size: int) -> str:
    if _width(word, size) <= width:
        return word
    while len(word) > 1 and _width(word + "…", size) > width:
        word = word[:-1]
    return word + "…"


def _draw_tiles(
    canvas: Image.Image, grid: _Grid, tiles: Sequence[Sequence[UInt8 | None]], notes: Sequence[Sequence[str]]
) -> None:
    draw = ImageDraw.Draw(canvas)
    for y, row in enumerate(tiles):
        for x, tile in enumerate(row):
            left, top = grid.at(x, y)
            if tile is None:
                draw.rectangle((left, top, left + grid.wide - 1, top + grid.high - 1), outline=FAINT)
            else:
                canvas.paste(Image.fromarray(tile), (left, top))
    for y, texts in enumerate(notes):
        for x, text in enumerate(texts):
            left, top = grid.at(x, y)
            _text(draw, (left, top + grid.high + 2), text, SMALL_TEXT)


def _text(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int) -> None:
    if text:
        draw.multiline_text(at, text, fill=INK, font=_font(size), spacing=3)
