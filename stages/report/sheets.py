"""Contact sheets as files: the same faces by the source and every method, and every level of one method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model.data.images import UInt8
from model.data.sheets import sheet, stack
from stages.comparing.words import readable
from stages.report.pictures import RULES, Shots, Tiles
from stages.report.view import View
from stages.report.words import blocks, column

SHOWN = 128  # px of a tile; smaller ones are enlarged by whole numbers
TITLES = {"first": "first of the list", "random": "drawn at random", "worst": "worst by {}"}

Column = tuple[str, Tiles]  # label, the tiles below it


def by_rule(view: View, dataset: str, shots: Mapping[str, Shots], faces: int) -> UInt8 | None:
    """Draw what every method makes of the first, the random and the worst faces: plain, then as recommended.

    A method's worst faces are its own, so each of those columns has its sources beside it.

    Returns: uint8 ``[H, W, 3]``, or None without pictures.
    """
    drawn = []
    for rule in RULES:
        columns = (
            _worst(view, dataset, shots, faces) if rule == "worst" else _methods(view, dataset, shots, (rule, faces))
        )
        if len(columns) > 1:
            by = next(iter(shots.values())).picks.by
            drawn.append(_draw(columns, f"{readable(dataset)}: {TITLES[rule].format(column(by).label)}"))
    return stack(drawn) if drawn else None


def levels(view: View, dataset: str, method: str, shots: Shots, faces: int) -> UInt8 | None:
    """Draw the first faces at every swap level of a method, snapshot by snapshot; None without pictures."""
    drawn = []
    points = view.of(dataset, method)
    for snapshot in dict.fromkeys(p.snapshot for p in points):
        mine = [p for p in points if p.snapshot == snapshot]
        columns = [("source", shots.tiles("source", "first")[:faces])]
        columns += [(blocks(view.kinds, p.swap, p.level), shots.tiles(p.file, "first")[:faces]) for p in mine]
        columns = [(label, tiles) for label, tiles in columns if tiles]
        name = f", snapshot {readable(snapshot)}" if snapshot else ""
        if len(columns) > 1:
            drawn.append(
                _draw(columns, f"{readable(method)} on {readable(dataset)}{name}: blocks taken from the source")
            )
    return stack(drawn) if drawn else None


def _methods(view: View, dataset: str, shots: Mapping[str, Shots], chosen: tuple[str, int]) -> list[Column]:
    rule, faces = chosen
    plain: list[Column] = []
    swapped: list[Column] = []
    source: list[Column] = []
    for method, mine in shots.items():
        source = source or [("source", mine.tiles("source", rule)[:faces])]
        start, best = view.plain(dataset, method), view.recommended(dataset, method)
        if start is not None:
            plain.append((readable(method), mine.tiles(start.file, rule)[:faces]))
        if best is not None and best != start:
            swapped.append((f"{readable(method)}, {view.words(best)}", mine.tiles(best.file, rule)[:faces]))
    return [(label, tiles) for label, tiles in [*source, *plain, *swapped] if tiles]


def _worst(view: View, dataset: str, shots: Mapping[str, Shots], faces: int) -> list[Column]:
    columns: list[Column] = []
    for method, mine in shots.items():
        best = view.recommended(dataset, method)
        if best is not None and (tiles := mine.tiles(best.file, "worst")[:faces]):
            columns.append(("source", mine.tiles("source", "worst")[:faces]))
            columns.append((f"{readable(method)}, {view.words(best)}", tiles))
    return columns


def _draw(columns: Sequence[Column], title: str) -> UInt8:
    """Draw a contact sheet: rows are faces, columns as given."""
    count = max(len(tiles) for _, tiles in columns)
    rows = [[tiles[i] if i < len(tiles) else None for _, tiles in columns] for i in range(count)]
    side = next(tiles[0].shape[0] for _, tiles in columns if tiles)
    return sheet(rows, [], [label for label, _ in columns], title, scale=max(1, SHOWN // side))
