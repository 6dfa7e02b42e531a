"""The comparison as the tracking server shows it: the stage's run is the parent, every cell a run below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.metrics.extractors.catalogue import KINDS
from pipeline.tracking import Run
from stages.comparing.likeness import SIMILARITY
from stages.comparing.palette import colours
from stages.comparing.pictures import kimg_strips, level_strips, series, shown
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
    _pictures(run, out, measured, colours(list(about.methods)))
    _views(run, measured, about)
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
        "colour": colours(list(about.methods))[cell.method],
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


def _pictures(run: Run, out: Path, measured: Measured, hues: Mapping[str, str]) -> None:
    """Record, in a run of its own per method, pictures whose slider goes over swap levels, and over its snapshots."""
    for evaluation in shown(measured):
        folder = out / "pictures" / f"{evaluation.method}-{evaluation.dataset}"
        faces: dict[str, dict[int, Any]] = {}
        for strip in level_strips(evaluation, folder):
            faces.setdefault(strip.key, {})[int(strip.step)] = strip.image
        for strip in kimg_strips(evaluation, folder):
            faces.setdefault(strip.key, {})[round(1000 * strip.step)] = strip.image
        where = {
            "method": evaluation.method, "dataset": evaluation.dataset, "seed": evaluation.seed, 
            "colour": hues[evaluation.method],
        }  # fmt: skip
        if faces:
            run.log_cell(f"{evaluation.method} {evaluation.dataset} faces", {"stage": "faces", **where}, {}, faces)
        for name in ("failures", "nearest"):
            if (folder / f"{name}.png").is_file():
                run.log_image(f"{name}/{evaluation.method}-{evaluation.dataset}", folder / f"{name}.png")


def _views(run: Run, measured: Measured, about: About) -> None:
    """Record the ways to look at a comparison: numbers of cells, faces by swap level, samples by images seen."""
    mine = "tags.latest = 'true' and tags.parent_stage = 'compare' and tags.stage = '{}'"
    tags = [f"tags.{name}" for name in ("method", "dataset", "seed", "swap", "gate_memorisation")]
    run.log_view(
        "Cells: likeness against style", mine.format("cell"), "tags.method",
        [*tags, "metrics.level", f"metrics.{SIMILARITY}", "metrics.kid", "metrics.fid"],
        [{"kind": "scatter", "keys": [SIMILARITY, "kid"]}, {"kind": "parallel", "keys": ["level", "kid", SIMILARITY]}],
    )  # fmt: skip
    kinds = dict.fromkeys(cell.swap for evaluation in measured.evaluations for cell in evaluation.cells if cell.level)
    faces = [series(dataset, kind) for dataset in measured.grid.datasets for kind in kinds]
    run.log_view(
        "Faces by swap level", mine.format("faces"), "tags.method", ["tags.method", "tags.dataset"],
        [{"kind": "images", "keys": [key]} for key in faces],
    )  # fmt: skip
    last = max((float(training["kimg"]) for training in about.trainings), default=0.0)
    run.log_view(
        "Samples by images seen", "tags.latest = 'true' and tags.stage = 'train'", "tags.method", tags[:3],
        [{"kind": "images", "keys": ["samples"], "step": round(1000 * last)}],
    )  # fmt: skip


def _datasets(run: Run, measured: Measured) -> None:
    for dataset in measured.grid.datasets:
        for evaluation in measured.of(dataset)[:1]:
            facts = evaluation.facts
            sizes = {"training": facts["n_real"], "heldout": facts["n_heldout"]}
            shape = (sum(sizes.values()), -1, -1, 3)  # of the images' size the evaluations say nothing
            run.log_dataset(dataset, facts["lmdb_digest"], str(evaluation.folder), shape, sizes, context="evaluation")
