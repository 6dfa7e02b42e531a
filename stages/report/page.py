"""The report as one page: everything inlined, no scripts, readable from a file, on a phone, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.data.images import UInt8, encode_image
from stages.report import curves, findings, hero, pareto, table, tiles
from stages.report.cells import Comparison
from stages.report.claim import fid_limit
from stages.report.curves import Training
from stages.report.findings import Report
from stages.report.look import DARK, LIGHT, colours, readable

TEMPLATE = "page.html.jinja"


def html(report: Report) -> str:
    """Return the page; equal reports give equal text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    # Autoescape for every template, whatever its suffix: names come from params files.
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["readable"] = readable
    environment.filters["unbroken"] = lambda text: str(text).replace(" px", "\N{NO-BREAK SPACE}px")
    return environment.get_template(TEMPLATE).render(context(report)) + "\n"


def context(report: Report) -> dict[str, Any]:
    """Return everything the template shows, as text, numbers and data URIs."""
    comparison = report.comparison
    hues = colours(comparison.grid.methods)
    measured = [d for d in comparison.grid.datasets if comparison.of(d)]
    return {
        "profile": comparison.grid.profile,
        "datasets": measured,
        "methods": [m for m in comparison.grid.methods if any(p.method == m for p in comparison.points)],
        "seeds": comparison.grid.seeds,
        "snapshots": comparison.snapshots,
        "baseline": report.baseline,
        "fid": comparison.fid,
        "extractor": table.extractor(comparison.fid),
        "max_fid_ratio": report.max_fid_ratio,
        "hues": hues,
        "hero": _hero(report),
        "cards": [card for dataset in measured for card in findings.cards(report, dataset)],
        "honesty": findings.honesty(report),
        "missing": comparison.missing,
        "suspects": table.suspects(comparison),
        "ended_early": findings.ended_early(report),
        "heads": [_head(comparison, key, column) for key, column in table.shown_columns(comparison)],
        "sections": [_section(report, dataset, index) for index, dataset in enumerate(measured)],
        "claims": [claim for dataset in measured for claim in findings.claims(report, dataset)],
        "command": report.command,
        "digests": report.digests,
    }


def _hero(report: Report) -> list[dict[str, Any]]:
    """Return one block per dataset: rows of faces as strips side by side."""
    found = []
    measured = sum(bool(report.comparison.of(dataset)) for dataset in report.comparison.grid.datasets)
    for block in hero.blocks(report.comparison, report.chosen, report.sheet_faces * measured):
        rows = [{"label": "source", "note": "not fine-tuned", "uri": _uri(np.concatenate(block.source, axis=1))}]
        for method, (swap, strip) in block.methods.items():
            rows.append({"label": readable(method), "note": swap, "uri": _uri(np.concatenate(strip, axis=1))})
        found.append({"dataset": block.dataset, "count": len(block.source), "rows": rows})
    return found


def _head(comparison: Comparison, key: str, column: table.Column) -> dict[str, str]:
    arrow = {"lower": "↓", "higher": "↑", "": ""}[column.better]
    return {"label": column.label, "arrow": arrow, "hint": column.hint, "extractor": table.extractor(key)}


def _section(report: Report, dataset: str, index: int) -> dict[str, Any]:
    """Return everything of one dataset."""
    comparison, faces = report.comparison, report.sheet_faces
    methods = comparison.methods(dataset)
    sweeps = [(method, tiles.sweeps(comparison, dataset, method, faces)) for method in methods]
    failures = [(method, tiles.failures(comparison, dataset, method)) for method in methods]
    trainings = [t for t in report.trainings if t.dataset == dataset]
    return {
        "id": f"dataset-{index}",
        "name": dataset,
        "rows": table.rows(comparison, dataset, report.chosen),
        "anchors": table.anchor_rows(comparison, dataset),
        "pareto": _pareto(report, dataset),
        "sheet": _columns(tiles.method_columns(comparison, dataset, report.chosen, faces)),
        "sweeps": [
            {"method": method, "snapshot": name, "columns": _columns(columns)}
            for method, found in sweeps
            for name, columns in found
        ],
        "failures": [{"method": method, "uri": _uri(image)} for method, image in failures if image is not None],
        "curves": _curves(report, dataset, trainings),
        "samples": _samples(trainings, comparison.grid.seeds[0]),
    }


def _pareto(report: Report, dataset: str) -> list[str]:
    """Return the figure for light and for dark ground; nothing without numbers."""
    limit = fid_limit(report.comparison, dataset, report.max_fid_ratio)
    plot = pareto.plot_of(report.comparison, dataset, report.chosen, limit)
    if plot is None:
        return []
    return [_uri(pareto.figure(plot, pareto.title(dataset), theme)) for theme in (LIGHT, DARK)]


def _curves(report: Report, dataset: str, trainings: Sequence[Training]) -> list[str]:
    title, methods = f"Training on {readable(dataset)}", report.comparison.grid.methods
    images = [curves.figure(trainings, methods, title, theme) for theme in (LIGHT, DARK)]
    return [_uri(image) for image in images if image is not None]


def _samples(trainings: Sequence[Training], seed: str) -> list[dict[str, str]]:
    """Return the last sample sheet of every method, for one seed."""
    found = []
    for training in trainings:
        image = curves.last_sample(training) if training.seed == seed else None
        if image is not None:
            found.append({"method": training.method, "kimg": f"{training.kimg:.0f}", "uri": _uri(image)})
    return found


def _columns(columns: Sequence[tiles.Column]) -> list[dict[str, Any]]:
    return [{"label": label, "count": len(strip), "uri": _uri(tiles.upright(strip))} for label, strip in columns]


def _uri(image: UInt8) -> str:
    """Inline an image, losslessly."""
    return "data:image/webp;base64," + base64.b64encode(encode_image(image, "webp")).decode("ascii")
