"""The pictures of a comparison: what evaluations drew, of the first seed of every method and dataset."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.images import UInt8, read_image
from model.errors import CorruptInputError
from stages.comparing.reading import Evaluation, Measured
from stages.comparing.table import Cell
from stages.comparing.trainings import last_sample

COPIED = ("picks.json", "nearest.png", "failures.png")
FACES, COLUMNS = 8, 4  # on a picture of the tracking server, which shows them in squares


@dataclass(frozen=True)
class Strip:
    """Some faces of the source, in each band above the same faces at one step of a sweep."""

    key: str  # name of the series
    step: float  # px of a swap level, or kimg of a snapshot
    image: UInt8


def shown(measured: Measured) -> list[Evaluation]:
    """Return the evaluation that is shown in pictures for every method and dataset: the first seed's."""
    first: dict[tuple[str, str], Evaluation] = {}
    for evaluation in measured.evaluations:
        first.setdefault((evaluation.method, evaluation.dataset), evaluation)
    return list(first.values())


def copy_pictures(measured: Measured, trained: Path, out: Path) -> None:
    """Copy pictures of evaluations and the last sample sheet of their trainings, to a folder each below ``out``."""
    out.mkdir()
    for evaluation in shown(measured):
        target = out / f"{evaluation.method}-{evaluation.dataset}"
        target.mkdir()
        if (evaluation.folder / "tiles").is_dir():
            shutil.copytree(evaluation.folder / "tiles", target / "tiles", copy_function=shutil.copyfile)
        for name in COPIED:
            if (evaluation.folder / name).is_file():
                shutil.copyfile(evaluation.folder / name, target / name)
        sample = last_sample(trained, evaluation.method, evaluation.dataset, evaluation.seed)
        if sample is not None:
            shutil.copyfile(sample, target / "sample.png")


def level_strips(evaluation: Evaluation, folder: Path) -> Iterator[Strip]:
    """Give the swap ladders of the main snapshot, one strip per level of every kind, from no swap (0 px).

    Args:
        evaluation: whose cells they are.
        folder: its pictures.
    """
    main = [cell for cell in evaluation.cells if cell.snapshot == evaluation.cells[0].snapshot]
    for kind in dict.fromkeys(cell.swap for cell in main if cell.level):
        for cell in main:
            if cell.swap == "none" or (cell.swap == kind and cell.level):
                yield from _strip(folder, cell, series(evaluation.dataset, kind), cell.level)


def kimg_strips(evaluation: Evaluation, folder: Path) -> Iterator[Strip]:
    """Give one strip per snapshot without a swap; names that mean the same snapshot give one."""
    found = {cell.kimg: cell for cell in evaluation.cells if cell.swap == "none"}
    for kimg in sorted(found) if len(found) > 1 else ():
        yield from _strip(folder, found[kimg], series(evaluation.dataset, "snapshots"), kimg)


def series(dataset: str, kind: str) -> str:
    """Return the name of a series of pictures: the same for every method, so that methods stand side by side."""
    return f"faces/{dataset} {kind}"


def _strip(folder: Path, cell: Cell, key: str, step: float) -> Iterator[Strip]:
    name = f"{cell.swap}-{cell.level}"
    paths = [folder / "tiles" / "source.png", folder / "tiles" / cell.snapshot / f"{name}.png"]
    if all(path.is_file() for path in paths):
        yield Strip(key, step, _bands(*(_faces(path) for path in paths)))


def _faces(path: Path) -> list[UInt8]:
    image = read_image(path)
    side = image.shape[0]
    if image.shape[1] % side:
        raise CorruptInputError(
            f"{path}: {image.shape[1]} x {side} px, expected square tiles side by side; evaluate again"
        )
    return [image[:, x : x + side] for x in range(0, image.shape[1], side)][:FACES]


def _bands(source: Sequence[UInt8], drawn: Sequence[UInt8]) -> UInt8:
    """Lay faces out in bands of a few, each the source's above the drawn ones; a band that is not full is black."""
    count = min(len(source), len(drawn))
    rows = []
    for start in range(0, count, COLUMNS):
        for faces in (source, drawn):
            row = list(faces[start : min(start + COLUMNS, count)])
            empty = [np.zeros_like(faces[0])] * (min(COLUMNS, count) - len(row))
            rows.append(np.concatenate(row + empty, axis=1))
    return np.concatenate(rows)
