"""The comparison as the tracking server shows it: the stage's run is the parent, every cell a run below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.metrics.extractors.catalogue import KINDS
from pipeline.tracking import Run
from stages.comparing.likeness import SIMILARITY
from stages.comparing.pictures import kimg_strips, level_strips, shown
from stages.comparing.reading import Measured
from stages.comparing.table import About, Cell, Table
from stages.comparing.view import View

FILES = ("table.parquet", "table.csv", "table.md", "metrics.json")


def record(run: Run, out: Path, measured: Measured, table: Table, views: Sequence[View]) -> None:
    """Record cells, tables, pictures and datasets; everything is keyed, so that a repeated run doubles nothing.

    Args:
        run: of the stage.
        out: the published folder.
        measured: the evaluations.
        table: the comparison.
        views: one per dataset.
    """
    about = table.about
    locked = weights_locked(about)
    for cell in table.cells:
        run.log_cell(*_cell(cell, about, locked))
    run.log_table("comparison", [_row(point) for point in about.findings["points"]])
    run.log_table("anchors", [
        {"dataset": dataset, "anchor": name, **values}
        for dataset, anchors in about.anchors.items() for name, values in anchors.items()
    ])  # fmt: skip
    run.log_table("differences", about.findings["differences"])
    _pictures(run, out, measured)
    _datasets(run, measured)
    run.log_metrics({
        f"{view.dataset}/{method}/{name}": value
        for view in views for method in view.methods for name, value in _headline(view, method).items()
    })  # fmt: skip
    run.set_tags({"missing": len(about.missing), "z_hash": about.facts[""]["z_sha256"], "weights_locked": locked})
    for name in FILES:
        run.log_artifact(out / name)


def weights_locked(about: About) -> str:
    """Return yes if every instrument is one of the catalogue's, with the weights that its name says; else no.

    The catalogue opens nothing but shipped files and those that weights.lock.yaml names, by their sha256.
    """
    for instrument in about.facts[""]["instruments"]:
        kind, _, digits = str(instrument["name"]).rpartition("-")
        if kind not in KINDS or not digits or not str(instrument["sha256"]).startswith(digits):
            return "no"
    return "yes"


def _cell(cell: Cell, about: About, locked: str) -> tuple[str, dict[str, object], dict[str, float]]:
    where = [cell.method, cell.dataset, cell.seed, *([cell.snapshot] if cell.snapshot else []), cell.swap]
    name = " ".join([*where, *([str(cell.level)] if cell.level else [])])
    tags = {
        "method": cell.method, "dataset": cell.dataset, "seed": cell.seed, "snapshot": cell.snapshot,
        "kimg": f"{cell.kimg:g}", "swap": cell.swap, "swap_level": cell.level, **cell.gates,
        "z_hash": about.facts[""]["z_sha256"], "weights_locked": locked,
    }  # fmt: skip
    plain = {"kid": cell.values[about.style], "fid": cell.values[about.fid]}
    return name, tags, cell.values | plain | {"level": cell.level, "snapshot_kimg": cell.kimg}


def _row(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point as one line of a table."""
    nested = ("mean", "sd", "gates", "kimg")
    line = {name: value for name, value in point.items() if name not in nested}
    return {**line, **point["gates"], **point["mean"], **{f"{name} sd": value for name, value in point["sd"].items()}}


def _headline(view: View, method: str) -> dict[str, float]:
    start = view.start(method)
    if start is None:
        return {}
    found = {"kid": view.scale.style(start), "fid": start.mean[view.fid]}
    return found | ({SIMILARITY: start.mean[SIMILARITY]} if SIMILARITY in start.mean else {})


def _pictures(run: Run, out: Path, measured: Measured) -> None:
    """Record a series per ladder, whose slider runs over levels, and one per method over the kimg of its snapshots."""
    for evaluation in shown(measured):
        folder = out / "pictures" / f"{evaluation.method}-{evaluation.dataset}"
        for strip in level_strips(evaluation, folder):
            run.log_image(strip.key, strip.image, step=int(strip.step))
        for strip in kimg_strips(evaluation, folder):
            run.log_image(strip.key, strip.image, step_kimg=strip.step)
        for name in ("failures", "nearest"):
            if (folder / f"{name}.png").is_file():
                run.log_image(f"{name}/{evaluation.method}-{evaluation.dataset}", folder / f"{name}.png")


def _datasets(run: Run, measured: Measured) -> None:
    for dataset in measured.grid.datasets:
        for evaluation in measured.of(dataset)[:1]:
            facts = evaluation.facts
            sizes = {"training": facts["n_real"], "heldout": facts["n_heldout"]}
            shape = (sum(sizes.values()), -1, -1, 3)  # of the images' size the evaluations say nothing
            run.log_dataset(dataset, facts["lmdb_digest"], str(evaluation.folder), shape, sizes, context="evaluation")
