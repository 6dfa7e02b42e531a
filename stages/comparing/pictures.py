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
FACES = 12  # on a strip of the tracking server


@dataclass(frozen=True)
class Strip:
    """Some faces of the source above the same faces at one step of a sweep."""

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
                yield from _strip(folder, cell, f"levels/{evaluation.method}-{evaluation.dataset}-{kind}", cell.level)


def kimg_strips(evaluation: Evaluation, folder: Path) -> Iterator[Strip]:
    """Give one strip per snapshot without a swap; names that mean the same snapshot give one."""
    found = {cell.kimg: cell for cell in evaluation.cells if cell.swap == "none"}
    for kimg in sorted(found) if len(found) > 1 else ():
        yield from _strip(folder, found[kimg], f"kimg/{evaluation.method}-{evaluation.dataset}", kimg)


def _strip(folder: Path, cell: Cell, key: str, step: float) -> Iterator[Strip]:
    name = f"{cell.swap}-{cell.level}"
    paths = [folder / "tiles" / "source.png", folder / "tiles" / cell.snapshot / f"{name}.png"]
    if all(path.is_file() for path in paths):
        yield Strip(key, step, np.concatenate(_same_width([_faces(path) for path in paths])))


def _faces(path: Path) -> UInt8:
    image = read_image(path)
    side = image.shape[0]
    if image.shape[1] % side:
        raise CorruptInputError(
            f"{path}: {image.shape[1]} x {side} px, expected square tiles side by side; evaluate again"
        )
    return image[:, : FACES * side]


def _same_width(rows: Sequence[UInt8]) -> list[UInt8]:
    width = min(row.shape[1] for row in rows)
    return [row[:, :width] for row in rows]
