"""The picture on top of the README: the same faces, as the source and as every method draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.data.images import UInt8, encode_image, resize
from stages.comparing.words import readable
from stages.report.pictures import Shots, Tiles
from stages.report.view import View

TILE = 128  # px
GAP = 4  # px between tiles
BLOCK_GAP = 30  # px between datasets
MARGIN = 16  # px around the picture
MAX_BYTES = 300_000
GROUND, INK, FAINT = (255, 255, 255), (29, 33, 38), (105, 114, 125)
NAME, NOTE, HEAD = 18, 13, 18  # px, text sizes


@dataclass(frozen=True)
class Block:
    """One dataset: the source's faces, then the same faces by every method."""

    dataset: str
    source: Tiles
    methods: dict[str, tuple[str, Tiles]]  # method -> swap level in words, tiles


def blocks(view: View, shots: Mapping[tuple[str, str], Shots], faces: int) -> list[Block]:
    """Gather the first tiles, ``faces`` per row over all datasets together; datasets without pictures are left out."""
    pictured = [d for d in view.datasets if _block(view, shots, d, 1) is not None]
    each = max(2, faces // max(1, len(pictured)))
    found = (_block(view, shots, dataset, each) for dataset in pictured)
    return [block for block in found if block is not None]


def _block(view: View, shots: Mapping[tuple[str, str], Shots], dataset: str, faces: int) -> Block | None:
    source: Tiles = []
    methods = {}
    for method in view.methods(dataset):
        mine, point = shots.get((method, dataset)), view.recommended(dataset, method)
        if mine is None or point is None:
            continue
        source = source or mine.tiles("source", "first")[:faces]
        if tiles := mine.tiles(point.file, "first")[:faces]:
            methods[method] = (view.words(point), tiles)
    return Block(dataset, source, methods) if source and methods else None


def compose(shown: Sequence[Block]) -> UInt8:
    """Draw the picture: one row for the source and each method, datasets side by side.

    Returns: uint8 ``[H, W, 3]``.
    """
    names = list(dict.fromkeys(method for block in shown for method in block.methods))
    labels = [("source", ["not fine-tuned"])] + [(readable(name), _notes(shown, name)) for name in names]
    left = (
        MARGIN
        + max(
            _width(text, size) for name, notes in labels for text, size in [(name, NAME), *((n, NOTE) for n in notes)]
        )
        + 18
    )
    top = MARGIN + (HEAD + 12 if len(shown) > 1 else 0)
    widths = [len(block.source) * (TILE + GAP) - GAP for block in shown]
    size = (left + sum(widths) + BLOCK_GAP * (len(shown) - 1) + MARGIN, top + len(labels) * (TILE + GAP) - GAP + MARGIN)
    canvas = Image.new("RGB", size, GROUND)
    draw = ImageDraw.Draw(canvas)
    for row, (name, notes) in enumerate(labels):
        _label(draw, (left - 18, top + row * (TILE + GAP) + TILE // 2), name, notes)
    x = left
    for block, width in zip(shown, widths, strict=True):
        if len(shown) > 1:
            draw.text((x, MARGIN - 2), readable(block.dataset), fill=INK, font=_font(HEAD))
        rows = [block.source, *(block.methods[name][1] if name in block.methods else [] for name in names)]
        for row, tiles in enumerate(rows):
            for column, tile in enumerate(tiles):
                canvas.paste(Image.fromarray(_fitted(tile)), (x + column * (TILE + GAP), top + row * (TILE + GAP)))
        x += width + BLOCK_GAP
    return np.array(canvas, dtype=np.uint8)


def picture(shown: Sequence[Block]) -> bytes:
    """Draw and encode the picture as PNG of less than 300 kB.

    Values are rounded to as few bits as that takes: six or five per channel still look the same, a palette would not.
    If that is not enough, there are fewer faces.
    """
    faces = max(len(block.source) for block in shown)
    while True:
        image = compose([_shortened(block, faces) for block in shown])
        for bits in (8, 7, 6, 5):
            step = 1 << (8 - bits)
            rounded = np.minimum((image.astype(np.int64) + step // 2) // step * step, 255).astype(np.uint8)
            data = encode_image(rounded, "png", compress_level=9)
            if len(data) < MAX_BYTES:
                return data
        if faces == 1:
            return data
        faces -= 1


def _shortened(block: Block, faces: int) -> Block:
    methods = {name: (swap, tiles[:faces]) for name, (swap, tiles) in block.methods.items()}
    return Block(block.dataset, block.source[:faces], methods)


def _notes(shown: Sequence[Block], method: str) -> list[str]:
    """Return the swap levels of a method in words, once if they are the same for every dataset."""
    levels = {readable(block.dataset): block.methods[method][0] for block in shown if method in block.methods}
    if len(set(levels.values())) == 1:
        return [next(iter(levels.values()))]
    return [f"{dataset}: {level}" for dataset, level in levels.items()]


def _label(draw: ImageDraw.ImageDraw, at: tuple[int, int], name: str, notes: Sequence[str]) -> None:
    """Write a row's name and notes, right-aligned and centred on the row."""
    height = NAME + 4 + len(notes) * (NOTE + 5)
    y = at[1] - height // 2
    draw.text((at[0], y), name, fill=INK, font=_font(NAME), anchor="ra")
    for index, note in enumerate(notes):
        draw.text((at[0], y + NAME + 6 + index * (NOTE + 5)), note, fill=FAINT, font=_font(NOTE), anchor="ra")


def _fitted(tile: UInt8) -> UInt8:
    """Enlarge a tile by a whole number, pixels repeated; shrink a larger one."""
    if tile.shape[0] > TILE or TILE % tile.shape[0]:
        return resize(tile, TILE)
    times = TILE // tile.shape[0]
    return tile.repeat(times, 0).repeat(times, 1)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _width(text: str, size: int) -> int:
    return int(_font(size).getlength(text)) + 1
