"""DVC stage ``evaluate``: measure snapshots of a trained generator at every swap level."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.blend import Side
from model.data.images import UInt8, to_uint8, write_png
from model.data.lmdb import LmdbImages
from model.data.sheets import sheet
from model.errors import BudgetError, UsageError
from model.files import atomic_write_json, atomic_write_text, publish_folder
from model.metrics.features import AttributeReader, FeatureExtractor, StyleFeatures
from model.metrics.prdc import COVERAGE_K
from model.metrics.scores import PERFECT, SourceSide, TargetSide, worst
from model.ops.memory import keep_freed_memory
from model.progress import Progress
from model.training.randomness import latents
from pipeline.params import read_section
from pipeline.tracking import Run
from stages.entry import run as run_stage
from stages.measuring.drawing import SOURCE, Cell, Cells, Picture
from stages.processes import pick_device

BATCH = 64  # images generated at once: also the extractors' own batch
NAMED_Z = 1000  # the hash of z covers the first so many
COORDINATES = ("snapshot", "kimg", "swap", "level")  # of a row of numbers
FAILURES = 8  # pairs on the sheet of the worst
FORMAT = 2  # of metrics.json; 1 knew no snapshots


Scores = dict[str, float | None]
Draw = Callable[[Tensor, bool], Iterable[Picture]]


@dataclass(frozen=True)
class EvaluateParams:
    """Section ``evaluate``."""

    images: int  # generated per cell: FID, KID and precision depend on it
    pairs: int  # of them, the first, compared with the source one by one
    tiles: int  # of them, the first, kept as pictures
    seed: int  # of z, of subsets and of resamples: the same for everything that is compared
    rgb_skip: Side  # whose RGB goes on when features are injected
    device: str  # auto, cpu or cuda


@dataclass(frozen=True)
class Drawn:
    """What one cell drew."""

    pairs: list[UInt8]  # with the source's w, in batches
    own: list[UInt8]  # with the cell's own w, the same z, in batches; empty where that is the same picture
    features: list[np.ndarray]  # of the images with its own w, in batches


@dataclass(frozen=True)
class Found:
    """What is kept of all cells once they are measured."""

    scores: dict[Cell, Scores]
    strips: dict[Cell, UInt8]  # the first pictures of each
    shuffled: dict[str, float]  # of the main snapshot without a swap: each drawing beside another source face
    failures: UInt8  # a sheet of its worst pairs


def evaluate(params: Path, lmdb: Path, source: Path, trained: Path, swaps: Path, out: Path, run: Run) -> None:
    """Measure --trained and its --swaps against --source (likeness) and --lmdb (style); write --out."""
    keep_freed_memory()
    settings = _checked(params, read_section(params, "evaluate", EvaluateParams))
    reader, extractor = AttributeReader(), StyleFeatures()  # a missing weight file is found before anything is drawn
    cells = Cells(source, trained, swaps, pick_device(settings.device))
    target = _reals(lmdb, cells.source.config.resolution, extractor, settings.seed)
    z = latents(settings.seed, "evaluate", 0, settings.images, cells.source.config.z_dim)
    untuned = _draw_all(cells.draw_source, z, settings, extractor)[SOURCE]
    side = SourceSide(np.concatenate(untuned.pairs), reader, settings.seed)
    found = _measure(cells, z, settings, side, target)
    anchors = {
        "source": target.scores(np.concatenate(untuned.features)) | PERFECT,
        "shuffled": found.shuffled,
        "real_split": target.floor(),
    }
    metrics = {
        "format": FORMAT,
        **{name: cells.details[name] for name in ("method", "dataset", "seed")},
        "snapshots": {take.name: take.kimg for take in cells.takes},
        "anchors": {name: _finite(values) for name, values in anchors.items()},
        "cells": _rows(cells, found.scores),
        "n_gen": settings.images,
        "n_pairs": settings.pairs,
        "n_real": len(target.train),
        "n_heldout": len(target.heldout),
        "z_sha256": hashlib.sha256(z[:NAMED_Z].numpy().tobytes()).hexdigest(),
        "tiles": {"count": min(settings.tiles, settings.pairs), "psi": 1.0},
        "extractor": {"style": _name(extractor), "attributes": _name(reader)},
        "weights": cells.sha256,
        "made_with": {"device": cells.device.type, "torch": torch.__version__, "rgb_skip": settings.rgb_skip},
    }
    found.strips[SOURCE] = _strip(untuned, settings.tiles)
    _publish(out, metrics, _tiles(cells, found.strips), found.failures)
    _record(run, out, metrics)


def _checked(params: Path, settings: EvaluateParams) -> EvaluateParams:
    least = 2 * (COVERAGE_K + 1)
    if settings.images < least or not 2 <= settings.pairs <= settings.images:
        raise UsageError(
            f"{params}: evaluate: images is {settings.images} and pairs {settings.pairs}; "
            f"expected at least {least} images and 2 to images pairs"
        )
    return settings


def _reals(lmdb: Path, resolution: int, extractor: StyleFeatures, seed: int) -> TargetSide:
    train, heldout = (LmdbImages(lmdb / split, resolution).read_all() for split in ("train", "heldout"))
    least = 2 * (COVERAGE_K + 1)
    if len(train) < least or len(heldout) < 2:
        raise BudgetError(
            f"{lmdb}: {len(train)} training and {len(heldout)} held-out images; distances between distributions need "
            f"at least {least} and 2: collect more images, or relax the crop stage"
        )
    return TargetSide(train, heldout, extractor, seed)


@torch.inference_mode()
def _draw_all(draw: Draw, z: Tensor, settings: EvaluateParams, extractor: FeatureExtractor) -> dict[Cell, Drawn]:
    """Draw all z in batches; keep pictures of pairs, and features of everything."""
    drawn: dict[Cell, Drawn] = {}
    with Progress("evaluate", total=len(z), unit="faces") as progress:
        for start in range(0, len(z), BATCH):
            batch = z[start : start + BATCH]
            kept = max(0, min(len(batch), settings.pairs - start))
            for name, paired, own in draw(batch, kept > 0):
                cell = drawn.setdefault(name, Drawn([], [], []))
                mine = to_uint8(own)
                cell.features.append(extractor(mine))
                if paired is not None:
                    cell.pairs.append(mine[:kept] if paired is own else to_uint8(paired[:kept]))
                    cell.own.extend([] if paired is own else [mine[:kept]])
            progress.update(len(batch))
    return drawn


def _measure(cells: Cells, z: Tensor, settings: EvaluateParams, side: SourceSide, target: TargetSide) -> Found:
    """Measure snapshot by snapshot, so that the pictures of one at a time are in memory."""
    scores, strips, shuffled, failures = {}, {}, None, None
    for snapshot in cells.targets:
        draw = partial(cells.draw, snapshot, settings.rgb_skip)
        for cell, drawn in _draw_all(draw, z, settings, target.extractor).items():
            scores[cell], strips[cell] = _scores(drawn, side, target), _strip(drawn, settings.tiles)
            if shuffled is None:  # the first cell is the main snapshot without a swap
                plain = np.concatenate(drawn.pairs)
                shuffled, failures = side.shuffled(side.see(plain)), _failures(side, plain)
    assert shuffled is not None
    assert failures is not None
    return Found(scores, strips, shuffled, failures)


def _name(instrument: AttributeReader | StyleFeatures) -> dict[str, str]:
    return {"name": instrument.name, "sha256": instrument.weights_sha256}


def _rows(cells: Cells, scores: Mapping[Cell, Scores]) -> list[dict[str, Any]]:
    """One row per name of a snapshot and swap; names that mean the same snapshot share their numbers.

    ``snapshot`` is empty where a single one was swept.
    """
    return [
        {
            "snapshot": take.name if len(cells.takes) > 1 else "", "kimg": take.kimg, "swap": name.kind,
            "level": name.level, **scores[name],
        }
        for take in cells.takes
        for name in cells.names(take.folder)
    ]  # fmt: skip


def _scores(drawn: Drawn, side: SourceSide, target: TargetSide) -> Scores:
    """One cell's numbers: fit, likeness with the source's w, and (``..._own``) likeness with its own w."""
    likeness = side.scores(side.see(np.concatenate(drawn.pairs)))
    own = side.means(side.see(np.concatenate(drawn.own))) if drawn.own else likeness
    return _finite(
        target.scores(np.concatenate(drawn.features)) | likeness | {f"{key}_own": own[key] for key in PERFECT}
    )


def _finite(values: Mapping[str, float]) -> Scores:
    """JSON has no NaN: what could not be measured is null."""
    return {name: float(value) if math.isfinite(value) else None for name, value in values.items()}


def _strip(drawn: Drawn, count: int) -> UInt8:
    """The first pictures of a cell, side by side."""
    return np.concatenate(list(np.concatenate(drawn.pairs)[:count]), axis=1)


def _tiles(cells: Cells, strips: Mapping[Cell, UInt8]) -> dict[str, UInt8]:
    """Pictures by file name: ``source``, ``none-0``, ``weights-8``, ...; of several snapshots in a folder per name."""
    tiles = {SOURCE.file: strips[SOURCE]}
    for take in cells.takes:
        name = take.name if len(cells.takes) > 1 else ""
        tiles |= {cell._replace(snapshot=name).file: strips[cell] for cell in cells.names(take.folder)}
    return tiles


def _failures(side: SourceSide, images: UInt8) -> UInt8:
    """The pairs with the largest landmark error: the source above, the drawing below."""
    errors = side.per_pair(side.see(images))["landmark_nme"]
    chosen = worst(errors, FAILURES)
    rows = [list(side.seen.images[chosen]), list(images[chosen])]
    scale = max(1, 128 // int(images.shape[1]))
    title = "pairs with the largest landmark error (share of the distance between the eyes)"
    return sheet(rows, ["source", "drawn"], [f"{errors[index]:.2f}" for index in chosen], title, scale=scale)


def _publish(out: Path, metrics: Mapping[str, Any], tiles: Mapping[str, UInt8], failures: UInt8) -> None:
    rows: list[dict[str, Any]] = metrics["cells"]
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with publish_folder(out, {name: metrics[name] for name in ("method", "dataset", "seed")}) as folder:
        for name, strip in tiles.items():
            write_png(folder / "tiles" / f"{name}.png", strip)
        write_png(folder / "failures.png", failures)
        atomic_write_text(folder / "cells.csv", text.getvalue())
        atomic_write_json(folder / "metrics.json", metrics)


def _record(run: Run, out: Path, metrics: Mapping[str, Any]) -> None:
    grid = {name: metrics[name] for name in ("method", "dataset", "seed")}
    for index, row in enumerate(metrics["cells"]):
        numbers = {key: value for key, value in row.items() if key not in COORDINATES and value is not None}
        swap = "no swap" if row["swap"] == "none" else f"{row['swap']} {row['level']} px"
        name = f"{row['snapshot']}, {swap}" if row["snapshot"] else swap
        tags = {"swap": row["swap"], "swap_level": row["level"], "snapshot": row["snapshot"], "kimg": row["kimg"]}
        run.log_cell(name, grid | tags, numbers)
        if index == 0:
            run.log_metrics(numbers)
    run.log_table("cells", [grid | row for row in metrics["cells"]])
    run.log_table("anchors", [{"anchor": name, **values} for name, values in metrics["anchors"].items()])
    run.log_image("failures", out / "failures.png")
    run.log_artifact(out / "metrics.json")
    run.log_params({name: metrics[name] for name in ("n_gen", "n_pairs", "n_real", "n_heldout", "z_sha256")})


if __name__ == "__main__":
    run_stage(evaluate)
