"""A made-up comparison as the stage ``compare`` publishes it, for tests of whatever reads one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from model.data.images import UInt8, write_png
from model.metrics.names import key
from stages.comparing.table import About, Cell, Floats, Table, write_table

EXTRACTOR = "stylenet-61b4f7b5"
KID, FID = key("kid_x1e3", 1000, EXTRACTOR), key("fid", 1000, EXTRACTOR)
METHODS = {"baseline": ["freeze_d", "ada"], "freeze_g": ["freeze_d", "freeze_g"], "structure_loss": ["structure_loss"]}
DATASETS = ("flat", "ink")
KINDS = {
    "weights": {"mix": "weights", "low": "source", "width": None, "mapping": "low"},
    "features": {"mix": "features", "low": "source", "rgb_skip": "source"},
}
LADDER = {0: (25.0, 0.0), 8: (50.0, 0.2), 16: (200.0, 0.45), 32: (340.0, 0.6)}  # level -> KID, similarity more
START = {"baseline": 0.14, "freeze_g": 0.32, "structure_loss": 0.17}
PAIRS, FACES, SIDE = 40, 12, 16
RULES = {"first": [0, 1, 2, 3, 4, 5], "random": [17, 9, 30], "worst": [22, 5, 38]}
Name = tuple[str, str, str, str, str, int]  # method, dataset, seed, snapshot, swap, level


def demo_table(
    seeds: Sequence[str] = ("s0", "s1", "s2"),
    snapshots: Sequence[str] = (),
    datasets: Sequence[str] = DATASETS,
    methods: Sequence[str] = tuple(METHODS),
    failing: Name | None = None,
) -> Table:
    """Make a table of methods, datasets and seeds, with the findings that belong to it.

    Args:
        seeds: 1 or more.
        snapshots: names of two or more, the main one first; empty for a single one without a name.
        datasets: of any name.
        methods: keys of METHODS, or others; the first is the baseline.
        failing: the place of a cell whose ``gate_memorisation`` fails.
    """
    swaps = [("none", 0), *((kind, level) for kind in KINDS for level in (8, 16, 32))]
    names = [
        (*grid, snapshot, *swap)
        for grid in product(methods, datasets, seeds)
        for snapshot in snapshots or ("",)
        for swap in swaps
    ]
    cells = tuple(_cell(name, list(snapshots), name == failing) for name in names)
    return Table(cells, _about(cells, seeds, datasets, methods))


def write_data(folder: Path, table: Table | None = None) -> Table:
    """Write what ``compare`` leaves for the page: table.parquet, and pictures of the first seed of every method."""
    table = table or demo_table()
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "table.parquet", table)
    first = table.about.seeds[0]
    for method, dataset in dict.fromkeys((c.method, c.dataset) for c in table.cells if c.seed == first):
        home = folder / "pictures" / f"{method}-{dataset}"
        own = [c for c in table.cells if (c.method, c.dataset, c.seed) == (method, dataset, first)]
        for name in ["source", *(tile_name(cell) for cell in own)]:
            write_png(home / "tiles" / f"{name}.png", np.concatenate(_tiles(f"{method}{dataset}{name}"), axis=1))
        scores = [0.9, 0.8, 0.7]
        picks = {**RULES, "by": "landmark_nme", "psi": 1.0, "scores": scores}
        (home / "picks.json").write_text(json.dumps(picks))
        for name in ("nearest", "failures", "sample"):
            write_png(home / f"{name}.png", _noise(name, (2 * SIDE, 4 * SIDE, 3)))
    return table


def tile_name(cell: Cell) -> str:
    """Return the path of a cell's strip below ``tiles``, without its suffix."""
    name = f"{cell.swap}-{cell.level}"
    return f"{cell.snapshot}/{name}" if cell.snapshot else name


def _cell(name: Name, snapshots: Sequence[str], fails: bool) -> Cell:
    method, dataset, seed, snapshot, swap, level = name
    later = snapshots.index(snapshot) if snapshot else 0
    luck = _random(method, dataset, seed)
    kid, more = LADDER[level]
    kid = (kid + 2 * luck.normal()) * (1.2 if dataset == "ink" else 1.0) * (1 + 0.3 * later)
    similarity = min(0.97, START.get(method, 0.2) + more + 0.1 * later + 0.01 * luck.normal())
    errors = {
        "landmark_nme": 0.21 * (1 - similarity),
        "attribute_mse": 1.2 * (1 - similarity),
        "lowres_rgb_mse_8": 0.01,
    }
    pairs = {measure: _spread(value, PAIRS, (*name, measure)) for measure, value in errors.items()}
    values = {
        KID: kid, FID: 4 + kid / 20, key("kid_x1e3_std", 1000, EXTRACTOR): 0.9,
        key("kid_heldout_x1e3", 1000, EXTRACTOR): kid + 4, key("fid_heldout", 1000, EXTRACTOR): 5 + kid / 20,
        key("precision", 1000, EXTRACTOR): 0.7, key("recall", 1000, EXTRACTOR): 0.1,
        key("coverage", 1000, EXTRACTOR): 0.75, key("nn_ratio", 1000, EXTRACTOR): 0.3 if fails else 1.02,
        "similarity": similarity, "similarity_own": similarity - 0.02, "edge_ssim": 0.1 + similarity / 2,
    }  # fmt: skip
    for measure, value in errors.items():
        values |= {measure: value, f"{measure}_lift": similarity, f"{measure}_own": value * 1.05}
        values |= {f"{measure}_low": value * 0.95, f"{measure}_high": value * 1.05}
    blocks = {metric: _spread(values[metric], 5, (*name, metric)) for metric in (KID, FID)}
    gates = {"gate_memorisation": "fail" if fails else "pass", "gate_collapse": "pass"}
    return Cell(*name[:4], 12.0 if not later else 12.0 / (1 + later), swap, level, values, gates, pairs, blocks)


def _about(cells: Sequence[Cell], seeds: Sequence[str], datasets: Sequence[str], methods: Sequence[str]) -> About:
    settings: dict[str, Any] = {
        "baseline": methods[0], "similarity": ["landmark_nme", "attribute_mse"], "max_style_ratio": 0.3,
        "resamples": 200, "confidence": 0.95, "kinds": KINDS,
    }  # fmt: skip
    anchors = {
        "source": {KID: 895.0, FID: 43.0, "similarity": 1.0, "landmark_nme": 0.0, "attribute_mse": 0.0},
        "shuffled": {"similarity": 0.0, "landmark_nme": 0.21, "attribute_mse": 1.2},
        "real_split": {KID: -1.46, FID: 0.8, key("kid_x1e3_std", 1000, EXTRACTOR): 0.7},
    }
    facts: dict[str, dict[str, Any]] = {
        dataset: {"n_real": 400, "n_heldout": 60, "lmdb_digest": _hash(dataset)} for dataset in datasets
    }
    facts[""] = {
        "n_gen": 1000, "n_pairs": PAIRS, "n_blocks": 5, "z_sha256": _hash("z"), "snapshots": {},
        "instruments": [{"name": EXTRACTOR, "sha256": _hash("s"), "preprocess": "native", "role": "style"}],
        "made_with": {"device": "cpu", "threads": 1, "torch": "2.11.0", "numpy": "2.2.0"},
    }  # fmt: skip
    return About(
        profile="trial", command="dvc repro", datasets=list(datasets),
        methods={method: METHODS.get(method, []) for method in methods}, seeds=list(seeds), settings=settings,
        style=KID, fid=FID, measures=["landmark_nme", "attribute_mse"],
        anchors={dataset: anchors for dataset in datasets}, facts=facts,
        missing=["freeze_g on ink, seed s9: not run"],
        not_run=[{"metric": "lpips[lpips_vgg]", "reason": "its weights are not here; run `cartoon-pipeline weights`"}],
        trainings=[_training(*name) for name in product(methods, datasets, seeds)],
        findings=_findings(cells, list(datasets), list(methods)),
        digests={"settings": _hash("settings"), "evaluations": _hash("evaluations")},
    )  # fmt: skip


def _training(method: str, dataset: str, seed: str) -> dict[str, Any]:
    ticks = [0.5 * n for n in range(1, 25)]
    luck = _random(method, dataset, seed, "training")
    stats = {
        "d_loss": [[kimg, 1.3 - 0.01 * kimg + 0.02 * luck.normal()] for kimg in ticks],
        "kid": [[kimg, 300.0 / kimg] for kimg in (4.0, 8.0, 12.0)],
        "nn_ratio": [[kimg, 1.1 - 0.01 * kimg] for kimg in (4.0, 8.0, 12.0)],
    }
    stopped = 12.0 if (method, seed) == ("structure_loss", "s2") else None
    place = {"method": method, "dataset": dataset, "seed": seed}
    return {**place, "kimg": 12.0, "kept": 12.0, "stopped": stopped, "stats": stats}


def _findings(cells: Sequence[Cell], datasets: list[str], methods: list[str]) -> dict[str, Any]:
    points = _points(cells)
    return {
        "points": points,
        "limits": {dataset: 0.3 * 895.0 for dataset in datasets},
        "floors": {dataset: 0.9 for dataset in datasets},
        "differences": [_difference(*n) for n in product(datasets, methods[1:], ("no swap", "recommended"))],
        "pareto": {d: {m: {"hypervolume": 1.2, "low": 1.1, "high": 1.3} for m in methods} for d in datasets},
        "ladders": [
            {
                "dataset": p["dataset"], "method": p["method"], "snapshot": p["snapshot"], "swap": kind,
                "spearman": 1.0, "knee": 16, "knee_share": 0.87,
            }
            for p in points if p["swap"] == "none"
            for kind in KINDS
        ],
        "claims": {d: {m: _claim() for m in methods[1:]} for d in datasets},
        "trained_on": {"structure_loss": ["lowres_rgb_mse_8", "lowres_rgb_mse_16"]} if len(methods) > 2 else {},
        "summary": {
            d: [
                "freeze g keeps the face best: similarity 0.32 (1 is the same face, 0 another person's).",
                "It costs no style that could be told from chance: KID 25.0 against the baseline's 25.3.",
            ]
            for d in datasets
        },
    }  # fmt: skip


def _claim() -> dict[str, Any]:
    return {
        "snapshot": "", "swap": "none", "level": 0, "kid": 25.0, "similarity": 0.32, "baseline": 0.15, "gain": 0.17,
        "per_seed": {"s0": 0.17, "s1": 0.18, "s2": 0.16}, "seeds_won": 3, "seeds": 3, "drawn": True, "levels": [],
    }  # fmt: skip


def _difference(dataset: str, method: str, at: str) -> dict[str, Any]:
    found = method == "freeze_g"
    words = (
        f"{method} keeps the face better than the baseline at {at}: +0.18 (0.16 to 0.20), p < 0.001 over 3 trainings"
    )
    if not found:
        words = f"no significant difference between {method} and the baseline at {at}: +0.03 (-0.02 to 0.08), p = 0.21"
    ends = (0.18, 0.16, 0.20) if found else (0.03, -0.02, 0.08)
    return {
        "dataset": dataset, "method": method, "against": "baseline", "measure": "similarity", "at": at,
        "difference": ends[0], "low": ends[1], "high": ends[2], "p": 0.0004 if found else 0.21,
        "p_holm": 0.0008 if found else 0.21, "significant": found, "unit": "seeds", "n": 3, "words": words,
    }  # fmt: skip


def _points(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str, str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.dataset, cell.method, cell.snapshot, cell.swap, cell.level), []).append(cell)
    points = []
    for (dataset, method, snapshot, swap, level), group in groups.items():
        rows = [cell.values for cell in group]
        gates = {
            name: max((c.gates[name] for c in group), key=["pass", "alarm", "fail"].index) for name in group[0].gates
        }
        points.append({
            "dataset": dataset, "method": method, "snapshot": snapshot, "swap": swap, "level": level,
            "seeds": len(group), "kimg": [cell.kimg for cell in group],
            "mean": {name: fmean(row[name] for row in rows) for name in rows[0]},
            "sd": {name: stdev(row[name] for row in rows) for name in rows[0]} if len(rows) > 1 else {},
            "dominated": swap == "features", "recommended": (swap, level) == ("weights", 8),
            "ranked": "fail" not in gates.values(), "gates": gates,
        })  # fmt: skip
    return points


def _spread(mean: float, count: int, name: tuple[object, ...]) -> Floats:
    """Return numbers of a given mean."""
    found = _random(*name).normal(size=count)
    values: Floats = mean + 0.05 * abs(mean) * (found - found.mean())
    return values


def _random(*name: object) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=int(_hash("/".join(map(str, name)))[:16], 16)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _noise(name: str, shape: tuple[int, ...]) -> UInt8:
    return _random(name).integers(0, 256, shape, dtype=np.uint8)


def _tiles(name: str) -> list[UInt8]:
    """Flat faces on a ground whose colour says which file they are from."""
    ground = _random(name).integers(60, 230, 3)
    tiles = []
    for face in range(FACES):
        tile = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
        tile[:] = ground
        tile[4:12, 4:12] = (20 * face, 200 - 10 * face, 120)
        tiles.append(tile)
    return tiles
