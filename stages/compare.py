"""DVC stage ``compare``: one table of every method, dataset, seed, snapshot and swap level, and what it shows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from model.files import atomic_write_json, atomic_write_text, publish_folder, sha256_file
from pipeline.params import ParamsError, read_params, read_section
from pipeline.tracking import Run
from stages.comparing.brief import brief
from stages.comparing.exports import cells_csv, headline, kimg_csv, levels_csv, pareto_csv
from stages.comparing.findings import findings
from stages.comparing.likeness import measures, refuse_trained, trained_on, with_similarity
from stages.comparing.markdown import as_markdown
from stages.comparing.pictures import copy_pictures
from stages.comparing.points import anchors_of
from stages.comparing.reading import Grid, Measured, read_evaluations
from stages.comparing.recording import record
from stages.comparing.table import About, Table, write_table
from stages.comparing.trainings import read_trainings
from stages.comparing.view import Rules, View, views
from stages.entry import run as run_stage

SECTIONS = ("profile", "datasets", "methods", "seeds", "compare")  # that this stage reads, beside swap.kinds


@dataclass(frozen=True)
class CompareParams:
    """Section ``compare``."""

    baseline: str  # the method that others are measured against
    similarity: tuple[str, ...]  # paired measures, by family or in full, whose lifts are averaged
    max_style_ratio: float  # a KID of at most this share of the untuned source's still looks drawn
    resamples: int  # of bootstraps and permutations
    confidence: float  # of intervals; 1 minus it is the level of tests

    def __post_init__(self) -> None:
        """Refuse values outside their ranges."""
        if not self.similarity or len(set(self.similarity)) != len(self.similarity):
            raise ParamsError(f"compare.similarity: found {list(self.similarity)}, expected measures, each once")
        if not self.max_style_ratio > 0:
            raise ParamsError(f"compare.max_style_ratio: found {self.max_style_ratio}, expected more than 0")
        if not 100 <= self.resamples <= 1_000_000:
            raise ParamsError(f"compare.resamples: found {self.resamples}, expected 100 to 1000000")
        if not 0.5 <= self.confidence < 1:
            raise ParamsError(f"compare.confidence: found {self.confidence}, expected at least 0.5 and below 1")


def compare(params: Path, evaluated: Path, trained: Path, out: Path, run: Run) -> None:
    """Compare every evaluation below --evaluated, of the trainings below --trained; write tables to the folder --out.

    The page is made from --out alone, by the stage ``page``.
    """
    settings = read_section(params, "compare", CompareParams)
    kinds = read_section(params, "swap.kinds", dict[str, dict[str, object]])
    grid = _grid(params, settings)
    measured = read_evaluations(evaluated, grid)
    optimised = trained_on({e.method: e.facts["techniques"] for e in measured.evaluations})
    refuse_trained(settings.similarity, optimised)
    chosen = measures(settings.similarity, measured.cells, measured.not_run)
    cells = with_similarity(measured.cells, chosen)
    rules = Rules(settings.baseline, settings.max_style_ratio, settings.resamples, settings.confidence)
    found = views(measured, cells, rules)
    used = asdict(settings) | {"similarity": list(settings.similarity), "kinds": kinds}
    about = About(
        **_names(params, measured), settings=used, style=measured.style, fid=measured.fid, measures=chosen,
        anchors={view.dataset: anchors_of(measured.of(view.dataset)) for view in found}, facts=_facts(measured),
        missing=list(measured.missing), not_run=measured.not_run, trainings=read_trainings(trained, grid),
        findings=findings(found, kinds, optimised), digests=_digests(params, measured),
    )  # fmt: skip
    table = Table(cells, about)
    with publish_folder(out) as folder:
        _write(folder, table, found)
        copy_pictures(measured, trained, folder / "pictures")
    record(run, out, measured, table, found)


def _grid(params: Path, settings: CompareParams) -> Grid:
    """Return what the params file says has to be measured."""
    names = [tuple(read_section(params, section, dict[str, object])) for section in ("datasets", "methods", "seeds")]
    if settings.baseline not in names[1]:
        known = ", ".join(names[1])
        raise ParamsError(f"{params}: compare.baseline: found {settings.baseline!r}, expected a method: {known}")
    return Grid(read_section(params, "profile", str), *names)


def _names(params: Path, measured: Measured) -> dict[str, Any]:
    """Return what the params file calls things, and what a user types to make this comparison again."""
    values, grid = read_params(params), measured.grid
    folder = PurePosixPath(str(values.get("params_file", "params.yaml"))).parent
    return {
        "profile": grid.profile,
        "command": "dvc repro" if str(folder) == "." else f"dvc repro {folder / 'dvc.yaml'}",
        "datasets": list(grid.datasets),
        "methods": {method: list(values["methods"][method] or {}) for method in grid.methods},
        "seeds": list(grid.seeds),
    }


def _facts(measured: Measured) -> dict[str, dict[str, Any]]:
    """Return what a reader must know of every dataset, and (under "") of all."""
    first = measured.evaluations[0].facts
    names = ("style", "n_gen", "n_pairs", "n_blocks", "z_sha256", "instruments")
    facts: dict[str, dict[str, Any]] = {
        "": {name: first[name] for name in names}
        | {
            "snapshots": {e.folder.name: e.facts["snapshots"] for e in measured.evaluations},
            "made_with": _merged([e.facts["made_with"] for e in measured.evaluations]),
        }
    }
    for evaluation in measured.evaluations:
        own = {name: evaluation.facts[name] for name in ("n_real", "n_heldout", "lmdb_digest")}
        weights = facts.setdefault(evaluation.dataset, {**own, "weights": {}})["weights"]
        weights[evaluation.folder.name] = evaluation.facts["weights"]
    return facts


def _merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return each entry's value, or the list of its values where evaluations differ."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        known = {json.dumps(row.get(name), sort_keys=True): row.get(name) for row in rows}
        found[name] = next(iter(known.values())) if len(known) == 1 else list(known.values())
    return found


def _write(folder: Path, table: Table, found: list[View]) -> None:
    about = table.about
    write_table(folder / "table.parquet", table)
    atomic_write_text(folder / "table.csv", cells_csv(table.cells))
    short = brief(found, about.findings)
    full = as_markdown(found, about.findings["trained_on"], about.missing)
    atomic_write_text(folder / "table.md", "\n".join(["### In short", "", *short, "", full]))
    atomic_write_json(folder / "metrics.json", headline(found, about.findings))
    atomic_write_text(folder / "pareto.csv", pareto_csv(found))
    atomic_write_text(folder / "levels.csv", levels_csv(found))
    atomic_write_text(folder / "kimg.csv", kimg_csv(about.trainings))


def _digests(params: Path, measured: Measured) -> dict[str, str]:
    """Return digests of what the comparison is made from: equal digests, equal files."""
    values = read_params(params)
    inputs = {e.folder.name: sha256_file(e.folder / "MANIFEST.json") for e in measured.evaluations}
    settings = {name: values[name] for name in SECTIONS} | {"kinds": values["swap"]["kinds"]}
    return {"settings": _digest(settings), "evaluations": _digest(inputs)}


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    run_stage(compare)
