"""Made-up evaluations in the format of the stage ``evaluate``, for tests of ``compare``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model.data.images import UInt8, write_png
from model.files import atomic_write_json, publish_folder
from model.metrics.names import key
from stages.comparing.findings import findings
from stages.comparing.likeness import measures, trained_on, with_similarity
from stages.comparing.reading import Grid, Measured, read_evaluations
from stages.comparing.view import Rules, View, views
from stages.measuring.values import Values, write_values

EXTRACTOR = "stylenet-0123abcd"
FID, KID = key("fid", 1000, EXTRACTOR), key("kid_x1e3", 1000, EXTRACTOR)
STD = key("kid_x1e3_std", 1000, EXTRACTOR)
KIMG = {"": 12.0, "best": 12.0, "4_kimg": 4.0}  # of snapshots, the single one without a name
SIDE = 8  # px of made-up tiles
PAIRS, BLOCKS = 60, 5
FLOOR = {"landmark_nme": 0.5, "attribute_mse": 2.0}  # of shuffled pairs
SIMILARITY = ["landmark_nme", "attribute_mse"]
KINDS = {
    "weights": {"mix": "weights", "low": "source", "width": None, "mapping": "low"},
    "features": {"mix": "features", "low": "source", "rgb_skip": "source"},
}
Paint = Callable[[str], Sequence[UInt8]]  # file stem (source, none-0, weights-8, ...) -> tiles
Key = tuple[str, str, str]  # method, dataset, seed


def cell(swap: str, level: int, kid: float, similarity: float, snapshot: str = "", **more: Any) -> dict[str, Any]:
    """Return a cell whose similarity is as given (both of its parts)."""
    shares = {key(name, 1000, EXTRACTOR): value for name, value in {"precision": 0.8, "nn_ratio": 1.0}.items()}
    values = {KID: kid, FID: 2 + kid / 10, STD: 0.5, **shares, "edge_ssim": 0.3, "lowres_rgb_mse_8": 0.01}
    likeness = {name: (1.0 - similarity) * floor for name, floor in FLOOR.items()}
    lifts = {f"{name}_lift": similarity for name in likeness} | {f"{name}_own_lift": similarity for name in likeness}
    where = {"snapshot": snapshot, "kimg": KIMG[snapshot], "swap": swap, "level": level}
    gates = {"gate_memorisation": "pass", "gate_collapse": "pass"}
    return {**where, **gates, **values, **likeness, **lifts, **more}


def write_evaluation(
    evaluated: Path, name: Key, cells: Sequence[Mapping[str, Any]], paint: Paint | None = None, **changes: Any
) -> Path:
    """Write the evaluation of one training: metrics.json, values.parquet, tiles and manifest.

    Args:
        evaluated: folder of all evaluations.
        name: method, dataset, seed.
        cells: from :func:`cell`.
        paint: draws the tiles; None for no pictures.
        changes: entries of metrics.json to replace; ``spread`` is that of numbers over pairs and blocks (0.05).
    """
    method, dataset, seed = name
    out = evaluated / f"{method}-{dataset}-{seed}"
    spread = changes.pop("spread", 0.05)
    data = {
        "format": 3, "method": method, "dataset": dataset, "seed": seed, "cells": list(cells),
        "techniques": {"freeze_d": {"train_up_to": 32}}, "not_run": [],
        "anchors": {
            "source": {FID: 50.0, KID: 400.0, "landmark_nme": 0.0, "attribute_mse": 0.0},
            "shuffled": FLOOR, "real_split": {FID: 2.0, KID: -0.2, STD: 0.4},
        },
        "snapshots": {row["snapshot"] or "kept": row["kimg"] for row in cells},
        "instruments": [{"name": EXTRACTOR, "sha256": "0123abcd" + 56 * "0", "preprocess": "native", "role": "style"}],
        "style": EXTRACTOR, "n_gen": 1000, "n_pairs": PAIRS, "n_real": 400, "n_heldout": 40, "n_blocks": BLOCKS,
        "z_sha256": digest("z"), "lmdb_digest": digest(dataset), "weights": {"source": digest("source")},
        "made_with": {"device": "cpu", "threads": 1},
    }  # fmt: skip
    with publish_folder(out) as folder:
        atomic_write_json(folder / "metrics.json", data | changes)
        write_values(folder / "values.parquet", [row for c in cells for row in values_of(name, c, spread)])
        for tile in ["source", *(tile_name(c) for c in cells)] if paint else []:
            write_png(folder / "tiles" / f"{tile}.png", np.concatenate(paint(tile), axis=1))
        if paint:
            picks = {"first": [0], "random": [7], "worst": [3], "by": "landmark_nme", "psi": 1.0, "scores": [0.9]}
            atomic_write_json(folder / "picks.json", picks)
            write_png(folder / "failures.png", np.zeros((4, 4, 3), np.uint8))
    return out


def values_of(name: Key, row: Mapping[str, Any], spread: float) -> list[Values]:
    """Return numbers per pair and per block whose means are those of the cell; a pair's luck is the same everywhere."""
    where = (row["snapshot"], row["swap"], row["level"])
    shared = noise("pairs", PAIRS)
    found = []
    for measure in FLOOR:
        for kind in ("pairs", "pairs_own"):
            own = noise("/".join((*name, *map(str, where), measure, kind)), PAIRS)
            luck = FLOOR[measure] * spread * (shared + own)
            found.append(Values(*where, measure, kind, row[measure] + luck))
    for metric in (KID, FID):
        luck = noise("/".join((*name, *map(str, where), metric)), BLOCKS)
        found.append(Values(*where, metric, "blocks", (row[metric] or 0.0) + 10 * spread * luck))
    return found


def noise(name: str, count: int) -> np.ndarray:
    """Return standard normal numbers whose mean is 0, the same for the same name."""
    values = np.random.Generator(np.random.Philox(key=int(digest(name)[:15], 16))).normal(size=count)
    return np.asarray(values - values.mean())


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tile_name(row: Mapping[str, Any]) -> str:
    name = f"{row['swap']}-{row['level']}"
    return f"{row['snapshot']}/{name}" if row["snapshot"] else name


def write_params(
    path: Path, datasets: Sequence[str], methods: Sequence[str], seeds: Sequence[str], **compare: Any
) -> Path:
    """Write a params file of a grid; names are quoted, so they may hold anything.

    ``compare`` replaces settings of that section.
    """
    settings = {
        "baseline": "baseline", "similarity": SIMILARITY, "max_style_ratio": 0.5, "resamples": 200, "confidence": 0.95
    }  # fmt: skip
    values = {
        "profile": "trial", "root": ".", "params_file": path.name,
        "datasets": {name: {"source": "synthetic"} for name in datasets},
        "methods": {name: {"freeze_d": {"train_up_to": 32}} for name in methods},
        "seeds": {name: index for index, name in enumerate(seeds)},
        "swap": {"kinds": KINDS}, "compare": settings | compare,
    }  # fmt: skip
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def paint(name: str) -> list[UInt8]:
    """Three flat tiles whose colour says which file they are from."""
    shade = sum(map(ord, name)) % 200
    return [np.full((SIDE, SIDE, 3), shade + i, dtype=np.uint8) for i in range(3)]


def levels(start: float, similarity: float, **more: Any) -> list[dict[str, Any]]:
    """Cells of a method: the more of the source, the worse the KID and the better the similarity."""
    return [
        cell("none", 0, start, similarity, **more),
        cell("weights", 8, start * 1.2, similarity + 0.15, **more),
        cell("weights", 16, start * 2, similarity + 0.25, **more),
        cell("features", 8, start * 1.3, similarity + 0.1, **more),
    ]


def measured_of(folder: Path, *methods: str, datasets: Sequence[str] = ("flat",), seeds: int = 1) -> Measured:
    return read_evaluations(folder, Grid("trial", tuple(datasets), methods, tuple(f"s{n}" for n in range(seeds))))


def views_of(measured: Measured, share: float = 0.5) -> list[View]:
    cells = with_similarity(measured.cells, measures(SIMILARITY, measured.cells, []))
    return views(measured, cells, Rules("baseline", share, 200, 0.95))


def findings_of(measured: Measured, share: float = 0.5) -> dict[str, Any]:
    optimised = trained_on({e.method: e.facts["techniques"] for e in measured.evaluations})
    return findings(views_of(measured, share), KINDS, optimised)
