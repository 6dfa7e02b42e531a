"""The pictures beside every ``metrics.json``: the same latents through the source and every swap level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.data.images import UInt8, read_image
from model.data.sheets import sheet, stack
from model.errors import CorruptInputError
from stages.report.cells import Comparison, Evaluation, Point, Swap, unswapped
from stages.report.look import readable

SHOWN = 128  # px of a tile on a sheet; smaller ones are enlarged by whole numbers

Tiles = list[UInt8]


def evaluation_of(comparison: Comparison, dataset: str, method: str) -> Evaluation | None:
    """Return the first seed's evaluation of a method on a dataset: the one that is shown in pictures."""
    found = (e for e in comparison.evaluations if (e.dataset, e.method) == (dataset, method))
    return next(found, None)


def source_tiles(evaluation: Evaluation, count: int) -> Tiles:
    """Return what the untuned source draws from the first ``count`` latents; empty if there are no pictures."""
    return _strip(evaluation, "source", count)


def swap_tiles(evaluation: Evaluation, swap: Swap, count: int) -> Tiles:
    """Return what a swap level draws from the same latents; empty if there are no pictures."""
    name = f"{swap.kind}-{swap.level}"
    return _strip(evaluation, f"{swap.snapshot}/{name}" if swap.snapshot else name, count)


def _strip(evaluation: Evaluation, name: str, count: int) -> Tiles:
    """Cut a file of tiles side by side, ``[R, N * R, 3]``, into the first ``count`` of them."""
    path = evaluation.folder / "tiles" / f"{name}.png"
    if not path.is_file():
        return []
    image = read_image(path)
    side = image.shape[0]
    if image.shape[1] % side:
        raise CorruptInputError(
            f"{path}: {image.shape[1]} x {side} px, expected square tiles side by side; evaluate again"
        )
    return [image[:, x : x + side] for x in range(0, image.shape[1], side)][:count]


def failures(comparison: Comparison, dataset: str, method: str) -> UInt8 | None:
    """Return the sheet of a method's worst pairs, chosen by the evaluation's rule; None without one."""
    evaluation = evaluation_of(comparison, dataset, method)
    path = evaluation.folder / "failures.png" if evaluation else None
    return read_image(path) if path is not None and path.is_file() else None


Column = tuple[str, Tiles]  # label, the tiles below it


def method_columns(comparison: Comparison, dataset: str, chosen: Sequence[Point], count: int) -> list[Column]:
    """Return source, then every method without a swap, then every method at its recommended level if that is another.

    Without a swap it is the main snapshot that is shown.
    """
    plain: list[Column] = []
    swapped: list[Column] = []
    source: list[Column] = []
    for method in comparison.methods(dataset):
        evaluation, start = evaluation_of(comparison, dataset, method), unswapped(comparison.of(dataset, method))
        if evaluation is None:
            continue
        source = source or [("source", source_tiles(evaluation, count))]
        if start is not None:
            plain.append((readable(method), swap_tiles(evaluation, start.swap, count)))
        swaps = [p.swap for p in chosen if (p.dataset, p.method) == (dataset, method) and p != start]
        swapped += [(f"{readable(method)}, {swap}", swap_tiles(evaluation, swap, count)) for swap in swaps]
    return _drawn([*source, *plain, *swapped])


def sweeps(comparison: Comparison, dataset: str, method: str, count: int) -> list[tuple[str, list[Column]]]:
    """Return, per snapshot, its name in words and: source, then every swap level, kind by kind.

    The name is empty where a single snapshot was swept; snapshots without pictures are left out.
    """
    evaluation, found = evaluation_of(comparison, dataset, method), []
    for snapshot in comparison.snapshots or [""]:
        cells = [cell for cell in evaluation.cells if cell.swap.snapshot == snapshot] if evaluation else []
        if evaluation is None or not cells:
            continue
        swaps = [cell.swap for cell in cells]
        kinds = list(dict.fromkeys(["none", *(swap.kind for swap in swaps)]))
        swaps.sort(key=lambda swap: (kinds.index(swap.kind), swap.level))
        first = [("source", source_tiles(evaluation, count))]
        columns = _drawn(first + [(swap.blocks, swap_tiles(evaluation, swap, count)) for swap in swaps])
        if columns:
            found.append((_name(snapshot, cells[0].kimg), columns))
    return found


def _name(snapshot: str, kimg: float) -> str:
    name = readable(snapshot)
    return f"{name} ({kimg:.3g} kimg)" if name and not name.endswith("kimg") else name


def _drawn(columns: list[Column]) -> list[Column]:
    """Leave out columns without pictures; nothing at all if only the source is left."""
    kept = [(label, tiles) for label, tiles in columns if tiles]
    return kept if len(kept) > 1 else []


def picture(columns: Sequence[Column], title: str) -> UInt8:
    """Draw a contact sheet: rows are latents, columns as given."""
    count = max(len(tiles) for _, tiles in columns)
    rows = [[tiles[i] if i < len(tiles) else None for _, tiles in columns] for i in range(count)]
    side = columns[0][1][0].shape[0]
    return sheet(rows, [], [label for label, _ in columns], title, scale=max(1, SHOWN // side))


def sweep_picture(found: Sequence[tuple[str, Sequence[Column]]], title: str) -> UInt8:
    """Draw the contact sheets of a method's snapshots below one another."""
    return stack([picture(columns, f"{title}, snapshot {name}" if name else title) for name, columns in found])


def upright(tiles: Tiles) -> UInt8:
    """Put tiles below one another, ``[N * R, R, 3]``, as the page shows a column."""
    return np.concatenate(tiles)
