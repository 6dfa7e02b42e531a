"""DVC stage ``compare``: one table, one figure and one page for every method, dataset, seed and swap level."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from model.data.images import write_png
from model.files import atomic_write, atomic_write_json, atomic_write_text, publish_folder, sha256_file
from pipeline.params import ParamsError, read_params, read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.report import hero, pareto, table, tiles
from stages.report.brief import brief
from stages.report.cells import Comparison, Grid, Point, read_comparison
from stages.report.claim import fid_limit, recommended, summary
from stages.report.curves import read_trainings
from stages.report.findings import Report
from stages.report.look import LIGHT, file_name, readable
from stages.report.page import html

SETTINGS = ("profile", "datasets", "methods", "seeds", "compare")  # sections that this stage reads


@dataclass(frozen=True)
class CompareParams:
    """Section ``compare``."""

    baseline: str  # the method that others are measured against at comparable FID
    max_fid_ratio: float  # a swap level whose FID is at most this share of the untuned source's counts as drawn
    sheet_faces: int  # latents on a contact sheet
    hero_faces: int  # faces per row of the hero picture

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        for name, value in (
            ("max_fid_ratio", self.max_fid_ratio),
            ("sheet_faces", self.sheet_faces),
            ("hero_faces", self.hero_faces),
        ):
            if value <= 0:
                raise ParamsError(f"compare.{name}: found {value}, expected more than 0")


def compare(params: Path, evaluated: Path, out: Path, run: Run, trained: Path | None = None) -> None:
    """Compare every evaluation below --evaluated; write page, tables, figures and sheets to the folder --out.

    With --trained, the folder of the trainings, the page shows their curves too.
    """
    settings = read_section(params, "compare", CompareParams)
    values = read_params(params)
    comparison = read_comparison(evaluated, _grid(params))
    chosen = _chosen(comparison, settings)
    trainings = read_trainings(trained, comparison.grid) if trained is not None else []
    report = Report(
        comparison, chosen, tuple(trainings), settings.baseline, settings.max_fid_ratio, settings.sheet_faces,
        settings.hero_faces, _command(values), _digests(values, comparison),
    )  # fmt: skip
    with publish_folder(out) as folder:
        atomic_write_text(folder / "index.html", html(report))
        atomic_write_text(folder / "table.csv", table.as_csv(comparison))
        short = brief(comparison, settings.baseline, settings.max_fid_ratio)
        full = table.as_markdown(comparison, chosen)
        atomic_write_text(folder / "table.md", "\n".join(["### In short", "", *short, "", full]))
        atomic_write_text(folder / "pareto.csv", pareto.as_csv(comparison))
        atomic_write_json(folder / "metrics.json", summary(comparison, settings.baseline, settings.max_fid_ratio))
        _pictures(folder, report)
    _record(run, out, report)


def _grid(params: Path) -> Grid:
    """Return what the params file says has to be measured."""
    names = [tuple(read_section(params, section, dict[str, object])) for section in ("datasets", "methods", "seeds")]
    return Grid(read_section(params, "profile", str), *names)


def _chosen(comparison: Comparison, settings: CompareParams) -> tuple[Point, ...]:
    """Return the recommended swap level of every method on every dataset."""
    found = []
    for dataset in comparison.grid.datasets:
        source = comparison.anchor(dataset, "source").get(comparison.fid, math.inf)
        limit = fid_limit(comparison, dataset, settings.max_fid_ratio)
        for method in comparison.methods(dataset):
            found.append(recommended(comparison.of(dataset, method), comparison.fid, source, limit))
    return tuple(found)


def _pictures(folder: Path, report: Report) -> None:
    """Write the hero, one Pareto figure and contact sheet per dataset, one swap sweep per method and dataset."""
    comparison, sheets = report.comparison, folder / "sheets"
    (folder / "figures").mkdir()
    sheets.mkdir()
    if shown := hero.blocks(comparison, report.chosen, report.hero_faces):
        atomic_write(folder / "hero.png", lambda file: file.write(hero.picture(shown)))
    for dataset in comparison.grid.datasets:
        plot = pareto.plot_of(comparison, dataset, report.chosen, fid_limit(comparison, dataset, report.max_fid_ratio))
        if plot is not None:
            write_png(
                folder / "figures" / f"pareto-{file_name(dataset)}.png",
                pareto.figure(plot, pareto.title(dataset), LIGHT),
            )
        columns = tiles.method_columns(comparison, dataset, report.chosen, report.sheet_faces)
        if columns:
            write_png(sheets / f"{file_name(dataset)}.png", tiles.picture(columns, readable(dataset)))
        for method in comparison.methods(dataset):
            found = tiles.sweeps(comparison, dataset, method, report.sheet_faces)
            if found:
                title = f"{readable(method)} on {readable(dataset)}: blocks taken from the source"
                write_png(sheets / f"{file_name(dataset)}-{file_name(method)}.png", tiles.sweep_picture(found, title))


def _record(run: Run, out: Path, report: Report) -> None:
    comparison = report.comparison
    rows = [
        {
            "dataset": p.dataset,
            "method": p.method,
            "snapshot": p.swap.snapshot,
            "swap": p.swap.kind,
            "level": p.swap.level,
            "seeds": p.seeds,
            **p.mean,
        }
        for p in comparison.points
    ]
    run.log_table("comparison", rows)
    run.set_tags({"missing": len(comparison.missing)})
    for name in ("index.html", "table.csv", "table.md", "metrics.json"):
        run.log_artifact(out / name)
    for path in [out / "hero.png", *sorted((out / "figures").glob("*.png")), *sorted((out / "sheets").glob("*.png"))]:
        if path.is_file():
            run.log_image(path.stem, path)


def _command(values: dict[str, Any]) -> str:
    """Return what a user types to make this page again."""
    folder = PurePosixPath(str(values.get("params_file", "params.yaml"))).parent
    return "dvc repro" if str(folder) == "." else f"dvc repro {folder / 'dvc.yaml'}"


def _digests(values: dict[str, Any], comparison: Comparison) -> dict[str, str]:
    """Return digests of what the page is made from: equal digests, equal page."""
    inputs = {e.folder.name: sha256_file(e.folder / "metrics.json") for e in comparison.evaluations}
    settings = {name: values[name] for name in SETTINGS}
    return {"settings": _digest(settings), "evaluations": _digest(inputs)}


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    run_stage(compare)
