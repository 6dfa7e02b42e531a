"""The report as one page: everything inlined, no scripts, readable from a file, on a phone, in light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.data.images import UInt8, encode_image
from stages.report import curves, hero, pareto, table, tiles
from stages.report.cells import SIMILARITY, Comparison, Point
from stages.report.claim import Gain, best_gain, fid_limit, gains
from stages.report.curves import Training
from stages.report.look import DARK, LIGHT, colours, readable

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Report:
    """What the page is made from."""

    comparison: Comparison
    chosen: tuple[Point, ...]  # the recommended swap level of every method on every dataset
    trainings: tuple[Training, ...]
    baseline: str
    max_fid_ratio: float
    sheet_faces: int
    hero_faces: int
    command: str  # what made it
    digests: dict[str, str]  # of what it was made from


def html(report: Report) -> str:
    """Return the page; equal reports give equal text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    # Autoescape for every template, whatever its suffix: names come from params files.
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["readable"] = readable
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
        "baseline": report.baseline,
        "fid": comparison.fid,
        "extractor": table.extractor(comparison.fid),
        "max_fid_ratio": report.max_fid_ratio,
        "hues": hues,
        "hero": _hero(report),
        "cards": [card for dataset in measured for card in _cards(report, dataset)],
        "honesty": _honesty(report),
        "missing": comparison.missing,
        "heads": [_head(comparison, key, column) for key, column in table.shown_columns(comparison)],
        "sections": [_section(report, dataset, index) for index, dataset in enumerate(measured)],
        "claims": [claim for dataset in measured for claim in _claims(report, dataset)],
        "command": report.command,
        "digests": report.digests,
    }


def _hero(report: Report) -> list[dict[str, Any]]:
    """Return one block per dataset: rows of faces as strips side by side."""
    found = []
    for block in hero.blocks(report.comparison, report.chosen, report.hero_faces):
        rows = [{"label": "source", "note": "not fine-tuned", "uri": _uri(np.concatenate(block.source, axis=1))}]
        for method, (swap, strip) in block.methods.items():
            rows.append({"label": readable(method), "note": swap, "uri": _uri(np.concatenate(strip, axis=1))})
        found.append({"dataset": block.dataset, "count": len(block.source), "rows": rows})
    return found


def _cards(report: Report, dataset: str) -> list[dict[str, str]]:
    """Return the headline numbers of a dataset."""
    comparison, fid = report.comparison, report.comparison.fid
    plain = [p for p in comparison.of(dataset) if p.swap == tiles.NO_SWAP]
    source = comparison.anchor(dataset, "source").get(fid)
    cards = []
    if plain and source:
        ratios = [p.mean[fid] / source for p in plain]
        within = sum(ratio <= report.max_fid_ratio for ratio in ratios)
        best = min(plain, key=lambda p: p.mean[fid])
        cards.append({
            "value": f"{source:.0f} → {best.mean[fid]:.0f}",
            "label": f"FID to {readable(dataset)}: untuned source → {readable(best.method)}",
            "note": f"{within} of {len(plain)} methods reach {report.max_fid_ratio:g} × the source's FID without a swap "
            f"(worst: {max(ratios):.2f} ×)",
        })  # fmt: skip
    for claim in _claims(report, dataset):
        cards.append({
            "value": claim["gain"],
            "label": f"similarity of {readable(claim['method'])} on {readable(dataset)}, against the {readable(report.baseline)} "
            "at comparable FID",
            "note": f"{claim['similarity']} against {claim['baseline']} at FID {claim['fid']}; {claim['swap']}; "
            f"closer in {claim['won']} of {claim['seeds']} {'seed' if claim['seeds'] == 1 else 'seeds'}",
        })  # fmt: skip
    return cards


def _claims(report: Report, dataset: str) -> list[dict[str, Any]]:
    """Return, for every method but the baseline, its best swap level against the baseline, and all its levels."""
    comparison = report.comparison
    limit = fid_limit(comparison, dataset, report.max_fid_ratio)
    claims = []
    for method in comparison.methods(dataset):
        found = [] if method == report.baseline else gains(comparison, dataset, method, report.baseline)
        best = best_gain(found, comparison.fid, limit)
        if best is not None:
            levels = [{**_gain(gain, comparison.fid), "drawn": gain.point.mean[comparison.fid] <= limit} for gain in found]
            claims.append({"dataset": dataset, "method": method, **_gain(best, comparison.fid), "levels": levels})
    return claims


def _gain(gain: Gain, fid: str) -> dict[str, Any]:
    seeds = " ".join(f"{value:+.3f}" for value in gain.per_seed.values()).replace("-", "−")
    return {
        "swap": str(gain.point.swap),
        "fid": f"{gain.point.mean[fid]:.1f}",
        "similarity": f"{gain.point.mean[SIMILARITY]:.3f}",
        "baseline": f"{gain.baseline[SIMILARITY]:.3f}",
        "gain": _signed(gain.gain[SIMILARITY]),
        "landmarks": _signed(gain.gain["landmark_similarity"]),
        "attributes": _signed(gain.gain["attribute_similarity"]),
        "positive": gain.gain[SIMILARITY] > 0,
        "per_seed": seeds,
        "won": gain.seeds_won,
        "seeds": len(gain.per_seed),
    }


def _honesty(report: Report) -> list[tuple[str, list[str]]]:
    """Return what a reader must know before believing a number: term, lines."""
    comparison = report.comparison
    facts: dict[str, list[str]] = {}
    for evaluation in comparison.evaluations:
        for term, value in evaluation.facts.items():
            if term in ("method", "dataset", "seed", "tiles"):
                continue
            where = f"{evaluation.dataset}: " if term == "n_real" else ""
            for text in _lines(value):
                if where + text not in facts.setdefault(term, []):
                    facts[term].append(where + text)
    names = {"n_real": "Drawn images compared with", "n_gen": "Images generated per cell", "z_sha256": "Latents (sha256), the same for every cell", "extractor": "Extractors"}
    return [(names.get(term, readable(term)), facts[term]) for term in sorted(facts, key=lambda t: (t not in names, list(names).index(t) if t in names else 0))]


def _lines(value: Any, name: str = "") -> list[str]:
    """Flatten a plain value into lines of text."""
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _lines(item, f"{name} {readable(str(key))}".strip())]
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return [f"{name}: {text}" if name else text]


def _head(comparison: Comparison, key: str, column: table.Column) -> dict[str, str]:
    arrow = {"lower": "↓", "higher": "↑", "": ""}[column.better]
    return {"label": column.label, "arrow": arrow, "hint": column.hint, "extractor": table.extractor(key)}


def _section(report: Report, dataset: str, index: int) -> dict[str, Any]:
    comparison = report.comparison
    plot = pareto.plot_of(comparison, dataset, report.chosen, fid_limit(comparison, dataset, report.max_fid_ratio))
    trainings = [t for t in report.trainings if t.dataset == dataset]
    draw = [curves.figure(trainings, comparison.grid.methods, f"Training on {readable(dataset)}", theme) for theme in (LIGHT, DARK)]
    shown = [pareto.figure(plot, readable(dataset), theme) for theme in (LIGHT, DARK)] if plot else []
    samples = []
    for training in trainings:
        image = curves.last_sample(training) if training.seed == comparison.grid.seeds[0] else None
        if image is not None:
            samples.append({"method": training.method, "kimg": f"{training.kimg:.0f}", "uri": _uri(image)})
    sweeps = [(method, tiles.sweep_columns(comparison, dataset, method, report.sheet_faces)) for method in comparison.methods(dataset)]
    return {
        "id": f"dataset-{index}",
        "name": dataset,
        "rows": table.rows(comparison, dataset, report.chosen),
        "anchors": table.anchor_rows(comparison, dataset),
        "pareto": [_uri(image) for image in shown],
        "sheet": _columns(tiles.method_columns(comparison, dataset, report.chosen, report.sheet_faces)),
        "sweeps": [{"method": method, "columns": _columns(columns)} for method, columns in sweeps if columns],
        "curves": [_uri(image) for image in draw if image is not None],
        "samples": samples,
    }


def _columns(columns: Sequence[tiles.Column]) -> list[dict[str, Any]]:
    return [{"label": label, "count": len(strip), "uri": _uri(tiles.upright(strip))} for label, strip in columns]


def _signed(value: float) -> str:
    text = f"{value:+.3f}"
    return "0.000" if not float(text) else text.replace("-", "−")


def _uri(image: UInt8) -> str:
    """Inline an image, losslessly."""
    return "data:image/webp;base64," + base64.b64encode(encode_image(image, "webp")).decode("ascii")
