"""An evaluation as files, and what its run records of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.data.images import write_png
from model.files import atomic_write_json, atomic_write_text
from pipeline.tracking import Run
from stages.measuring.drawing import SOURCE, Cell, Cells
from stages.measuring.measure import Found
from stages.measuring.reals import Reals
from stages.measuring.values import Values, write_values

PLACE = ("snapshot", "kimg", "swap", "level")  # of a row of numbers
Row = dict[str, Any]


def rows_of(cells: Cells, found: Found) -> list[Row]:
    """One row per name of a snapshot and swap; names that mean the same snapshot share their numbers."""
    return [
        {
            "snapshot": shown.snapshot, "kimg": kimg, "swap": shown.kind, "level": shown.level,
            **found.gates[cell], **found.scores[cell],
        }
        for cell, shown, kimg in _places(cells)
    ]  # fmt: skip


def write(folder: Path, metrics: Mapping[str, Any], cells: Cells, found: Found) -> None:
    """Write everything of an evaluation but its manifest."""
    atomic_write_json(folder / "metrics.json", metrics)
    atomic_write_json(folder / "picks.json", found.picks)
    atomic_write_text(folder / "cells.csv", _csv(metrics["cells"]))
    places = _places(cells)
    values = [
        Values(shown.snapshot, shown.kind, shown.level, measure, kind, numbers)
        for cell, shown, _ in places
        for measure, kind, numbers in found.rows[cell]
    ]
    write_values(folder / "values.parquet", values)
    strips = {SOURCE.file: found.strips[SOURCE]} | {shown.file: found.strips[cell] for cell, shown, _ in places}
    for name, strip in strips.items():
        write_png(folder / "tiles" / f"{name}.png", strip)
    for name, sheet in found.sheets.items():
        write_png(folder / f"{name}.png", sheet)


def record(run: Run, out: Path, metrics: Mapping[str, Any], lmdb: Path, reals: Reals) -> None:
    """Record the main cell's numbers, pictures and inputs; the stage compare records cells side by side."""
    main: Row = metrics["cells"][0]
    numbers = {name: value for name, value in main.items() if name not in PLACE and isinstance(value, (int, float))}
    run.log_metrics(numbers)
    run.set_tags({name: value for name, value in main.items() if name.startswith("gate_") and value is not None})
    run.log_params({name: metrics[name] for name in ("n_gen", "n_pairs", "n_real", "n_heldout", "z_sha256")})
    record_images(run, lmdb, reals)
    for name in ("failures", "nearest"):
        if (out / f"{name}.png").is_file():
            run.log_image(name, out / f"{name}.png")
    for name in ("metrics.json", "cells.csv", "picks.json"):
        run.log_artifact(out / name)


def record_images(run: Run, lmdb: Path, reals: Reals) -> None:
    """Record which real images were measured; by the digest under which trainings know them, too."""
    shape = [len(reals.train), reals.train.resolution, reals.train.resolution, 3]
    profile = {"training": len(reals.train), "heldout": len(reals.heldout)}
    run.log_dataset(lmdb.name, reals.train.digest, str(lmdb), shape, profile, context="evaluation")


def _places(cells: Cells) -> list[tuple[Cell, Cell, float]]:
    """Every cell that was drawn, the cell it is shown as and its kimg; snapshot is empty where one was swept."""
    return [
        (cell, cell._replace(snapshot=take.name if len(cells.takes) > 1 else ""), take.kimg)
        for take in cells.takes
        for cell in cells.names(take.folder)
    ]


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()
