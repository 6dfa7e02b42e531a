"""Made-up evaluations in the format of the stage ``evaluate``, for tests of ``compare``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from model.data.images import UInt8, write_png
from model.files import atomic_write_json, publish_folder
from stages.report.cells import Comparison, Grid, read_comparison

EXTRACTOR = "stylenet-0123abcd"
FID = f"fid[{EXTRACTOR}]"
KID = f"kid_x1e3[{EXTRACTOR}]"
KIMG = {"": 12.0, "best": 12.0, "4_kimg": 4.0}  # of snapshots, the single one without a name
SIDE = 8  # px of made-up tiles
FLOOR = {"landmark_nme": 0.5, "attribute_mse": 2.0, "edge_ssim": 0.1}
Paint = Callable[[str], Sequence[UInt8]]  # file stem (source, none-0, weights-8, ...) -> tiles


def cell(
    swap: str, level: int, fid: float, similarity: float, snapshot: str = "", **more: float | None
) -> dict[str, Any]:
    """Return a cell whose similarity is as given (both of its parts)."""
    shares = {
        f"{name}[{EXTRACTOR}]": value for name, value in {"precision": 0.8, "recall": 0.4, "nn_ratio": 1.0}.items()
    }
    values = {FID: fid, KID: fid / 10, **shares, "edge_ssim": 0.3, "lowres_mse_8": 0.01}
    likeness = {name: (1.0 - similarity) * FLOOR[name] for name in ("landmark_nme", "attribute_mse")}
    lifts = {f"{name}_lift": similarity for name in likeness}
    where = {"snapshot": snapshot, "kimg": KIMG[snapshot], "swap": swap, "level": level}
    return {**where, **values, **likeness, **lifts, **more}


def write_evaluation(
    evaluated: Path,
    key: tuple[str, str, str],
    cells: Sequence[Mapping[str, Any]],
    paint: Paint | None = None,
    **changes: Any,
) -> Path:
    """Write the evaluation of one training: metrics.json, tiles and manifest.

    Args:
        evaluated: folder of all evaluations.
        key: method, dataset, seed.
        cells: from :func:`cell`.
        paint: draws the tiles; None for no pictures.
        changes: entries of metrics.json to replace.
    """
    method, dataset, seed = key
    out = evaluated / f"{method}-{dataset}-{seed}"
    anchors = {
        "source": {FID: 100.0, KID: 10.0, "landmark_nme": 0.0, "attribute_mse": 0.0},
        "shuffled": FLOOR,
        "real_split": {FID: 2.0, KID: 0.01},
    }
    data = {
        "format": 2, "method": method, "dataset": dataset, "seed": seed, "anchors": anchors, "cells": list(cells),
        "n_real": 400, "n_heldout": 40, "n_gen": 1000, "n_pairs": 200,
        "snapshots": {name or "kept": KIMG[name] for name in dict.fromkeys(row["snapshot"] for row in cells)},
        "z_sha256": hashlib.sha256(b"z").hexdigest(),
        "extractor": {"style": {"name": EXTRACTOR, "sha256": hashlib.sha256(b"style").hexdigest()}},
        "tiles": {"count": 3, "psi": 1.0}, "made_with": {"device": "cpu"},
    }  # fmt: skip
    with publish_folder(out) as folder:
        atomic_write_json(folder / "metrics.json", data | changes)
        for name in ["source", *(_tile(c) for c in cells)] if paint else []:
            write_png(folder / "tiles" / f"{name}.png", np.concatenate(paint(name), axis=1))
    return out


def _tile(row: Mapping[str, Any]) -> str:
    name = f"{row['swap']}-{row['level']}"
    return f"{row['snapshot']}/{name}" if row["snapshot"] else name


def write_params(path: Path, datasets: Sequence[str], methods: Sequence[str], seeds: Sequence[str]) -> Path:
    """Write a params file of a grid; names are quoted, so they may hold anything."""
    import json

    values = {
        "profile": "trial", "root": ".", "params_file": path.name,
        "datasets": {name: {"source": "synthetic"} for name in datasets},
        "methods": {name: {} for name in methods},
        "seeds": {name: index for index, name in enumerate(seeds)},
        "compare": {"baseline": "baseline", "max_fid_ratio": 0.5, "sheet_faces": 3, "hero_faces": 3},
    }  # fmt: skip
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def paint(name: str) -> list[UInt8]:
    """Three flat tiles whose colour says which file they are from."""
    shade = sum(map(ord, name)) % 200
    return [np.full((SIDE, SIDE, 3), shade + i, dtype=np.uint8) for i in range(3)]


def levels(start: float, similarity: float) -> list[dict[str, Any]]:
    """Cells of a method: the more of the source, the worse the FID and the better the similarity."""
    return [
        cell("none", 0, start, similarity),
        cell("weights", 8, start * 1.2, similarity + 0.15),
        cell("weights", 16, start * 2, similarity + 0.25),
        cell("features", 8, start * 1.3, similarity + 0.1),
    ]


def comparison_of(folder: Path, *methods: str, datasets: tuple[str, ...] = ("flat",), seeds: int = 1) -> Comparison:
    return read_comparison(folder, Grid("trial", datasets, methods, tuple(f"s{n}" for n in range(seeds))))


class Elements(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]
